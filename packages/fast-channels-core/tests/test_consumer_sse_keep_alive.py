"""Event streams that are quiet: comments, so that nobody takes them for dead."""

import asyncio
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ref

import pytest

from fast_channels.consumer import AsyncSSEConsumer
from fast_channels.layers import get_channel_layer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, LoopClock, Serve

Counted = Callable[[], dict[str, int]]

pytestmark = pytest.mark.usefixtures("default_layer")


class News(AsyncSSEConsumer):
    channel_layer_alias = "default"
    groups = ["news"]


def body(data: bytes) -> Event:
    return {"type": "http.response.body", "body": data, "more_body": True}


async def opened(serve: "Serve", app: type[AsyncSSEConsumer]) -> "Client":
    client = serve(app, type="http", method="GET")
    client.give({"type": "http.request"})
    assert (await client.next())["status"] == 200
    assert await client.next() == body(b"")
    return client


@pytest.fixture
async def quiet(serve: "Serve", loop_clock: "LoopClock") -> "Client":
    """A stream that began 3 seconds ago and had an event just now."""
    client = await opened(serve, News)
    await loop_clock.advance(3)
    await get_channel_layer().group_send("news", {"type": "sse.event", "data": "x"})
    assert await client.next() == body(b"data: x\n\n")
    return client


async def test_a_comment_is_sent_when_there_was_nothing_for_long(
    quiet: "Client", loop_clock: "LoopClock"
) -> None:
    await loop_clock.advance(14.9)
    assert quiet.unheard == 0
    for _ in range(3):
        await loop_clock.advance(0.2)
        assert await quiet.next() == body(b": \n\n")
        await loop_clock.advance(14.9)
        assert quiet.unheard == 0


async def test_no_comment_is_sent_after_the_end(
    quiet: "Client", loop_clock: "LoopClock", counted: Counted
) -> None:
    quiet.give({"type": "http.disconnect"})
    assert await quiet.ended() == []
    before = counted()
    await loop_clock.advance(100)
    assert counted() == before


async def test_nothing_holds_a_stream_that_has_ended(serve: "Serve") -> None:
    streams: list[ref[AsyncSSEConsumer]] = []

    class Noted(News):
        async def connect(self, last_event_id: str | None) -> None:
            streams.append(ref(self))

    client = await opened(serve, Noted)
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []
    gc.collect()
    assert [stream() for stream in streams] == [None]


async def test_one_comment_waits_for_a_handler_that_is_busy(
    serve: "Serve", loop_clock: "LoopClock"
) -> None:
    go_on = asyncio.Event()

    class Busy(News):
        async def connect(self, last_event_id: str | None) -> None:
            await self.accept()
            await go_on.wait()

    client = await opened(serve, Busy)
    for _ in range(5):
        await loop_clock.advance(16)
    go_on.set()
    assert await client.next() == body(b": \n\n")
    client.give({"type": "http.disconnect"})
    assert await client.ended() == []


async def test_comments_may_be_turned_off(serve: "Serve", loop_clock: "LoopClock") -> None:
    class Silent(News):
        keep_alive_interval = None

    client = await opened(serve, Silent)
    await loop_clock.advance(100)
    assert client.unheard == 0


@pytest.mark.parametrize("interval", [0, -1.0, float("inf"), float("nan")])
def test_an_interval_is_above_0(interval: float) -> None:
    with pytest.raises(ValueError, match=r"Odd.keep_alive_interval is .*, expected a number of"):
        type("Odd", (AsyncSSEConsumer,), {"keep_alive_interval": interval})
