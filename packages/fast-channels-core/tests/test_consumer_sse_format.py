"""Server-sent events as they are written, and as clients read them."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels.consumer import AsyncSSEConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event


class Seen(NamedTuple):
    """An event as an EventSource dispatches it."""

    data: str
    event: str = "message"
    last_event_id: str = ""


def parse(stream: bytes) -> tuple[list[Seen], list[int]]:
    """What a client makes of a stream, and of its retry fields: WHATWG HTML, 9.2.6, literally."""
    seen: list[Seen] = []
    retries: list[int] = []
    data, event, last_id = "", "", ""
    *lines, rest = re.split("\r\n|\n|\r", stream.decode())
    assert rest == ""
    for line in lines:
        if line == "":
            if data:
                seen.append(Seen(data.removesuffix("\n"), event or "message", last_id))
            data = event = ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                event = value
            case "data":
                data += value + "\n"
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if re.fullmatch("[0-9]+", value):
                retries.append(int(value))
            case _:
                assert field == ""
    return seen, retries


async def streamed(connect: Callable[[AsyncSSEConsumer], Awaitable[None]]) -> bytes:
    """All of a stream that is closed after ``connect``."""
    sent: list[bytes] = []
    requests: list[Event] = [{"type": "http.request"}]

    class Stream(AsyncSSEConsumer):
        channel_layer_alias = "default"

        async def connect(self, last_event_id: str | None) -> None:
            await connect(self)
            await self.close()

    async def receive() -> Event:
        if not requests:
            await asyncio.Event().wait()
        return requests.pop()

    async def send(event: Any) -> None:
        sent.append(event.get("body", b""))

    await Stream()({"type": "http", "method": "GET", "headers": []}, receive, send)
    return b"".join(sent)


pytestmark = pytest.mark.usefixtures("default_layer")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ({"data": "x"}, b"data: x\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": " a: b"}, b"data:  a: b\n\n"),
        ({"data": "1\n2\r3\r\n4\n"}, b"data: 1\ndata: 2\ndata: 3\ndata: 4\ndata: \n\n"),
        ({"data": "no\x0bline\x85ends\u2028"}, "data: no\x0bline\x85ends\u2028\n\n".encode()),
        ({"json": {"a": ["\n", "\u00fc"]}}, 'data: {"a":["\\n","\u00fc"]}\n\n'.encode()),
        (
            {"data": "x", "event": "e", "id": "7", "retry": 0},
            b"id: 7\nevent: e\nretry: 0\ndata: x\n\n",
        ),
        ({"data": "x", "id": ""}, b"id: \ndata: x\n\n"),
    ],
)
async def test_an_event_on_the_wire(arguments: dict[str, Any], sent: bytes) -> None:
    assert await streamed(lambda stream: stream.send_event(**arguments)) == sent


single_line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
events = st.fixed_dictionaries(
    {"data": st.text(st.characters(exclude_categories=["Cs"]))},
    optional={"event": single_line, "id": single_line, "retry": st.integers(min_value=0)},
)


@given(st.lists(events))
async def test_clients_see_what_was_sent(sent: list[dict[str, Any]]) -> None:
    async def send_all(stream: AsyncSSEConsumer) -> None:
        for event in sent:
            await stream.send_event(**event)
            await stream.send_comment(event["data"])

    expected: list[Seen] = []
    last_id = ""
    for event in sent:
        last_id = event.get("id", last_id)
        data = re.sub("\r\n|\r", "\n", event["data"])
        expected.append(Seen(data, event.get("event") or "message", last_id))
    retries = [event["retry"] for event in sent if "retry" in event]
    assert parse(await streamed(send_all)) == (expected, retries)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "ValueError: an event takes either data or json, and one of them"),
        ({"data": "x", "json": 1}, "ValueError: an event takes either data or json, and one of"),
        ({"data": b"x"}, "TypeError: the data of an event must be a str, not bytes"),
        ({"data": "x", "event": "a\nb"}, "ValueError: the name of an event must have no CR, LF"),
        ({"data": "x", "id": "a\rb"}, "ValueError: the id of an event must have no CR, LF or NUL"),
        ({"data": "x", "id": "a\0"}, "ValueError: the id of an event must have no CR, LF or NUL"),
        ({"data": "x", "id": 7}, "TypeError: the id of an event must be a str, not int"),
        ({"data": "x", "retry": -1}, "ValueError: retry must be 0 milliseconds or more, not -1"),
        ({"data": "x", "retry": 0.5}, "TypeError: retry must be an int, in milliseconds, not 0.5"),
        ({"data": "x", "retry": True}, "TypeError: retry must be an int, in milliseconds"),
        ({"data": "\ud800"}, "UnicodeEncodeError"),
    ],
)
@pytest.mark.parametrize("method", ["send_event", "broadcast_event"])
async def test_what_is_refused_sends_nothing(
    default_layer: InMemoryChannelLayer, method: str, arguments: dict[str, Any], complaint: str
) -> None:
    async def connect(stream: AsyncSSEConsumer) -> None:
        await stream.channel_layer.group_add("news", stream.channel_name)
        group = ["news"] if method == "broadcast_event" else []
        try:
            await getattr(stream, method)(*group, **arguments)
        except (TypeError, ValueError) as error:
            await stream.reject(400, f"{type(error).__name__}: {error}".encode())

    assert (await streamed(connect)).decode().startswith(complaint)


async def test_comments() -> None:
    async def connect(stream: AsyncSSEConsumer) -> None:
        await stream.send_comment()
        await stream.send_comment("a\nb")
        wrong: Any = b"x"
        with pytest.raises(TypeError, match="a comment must be a str, not bytes"):
            await stream.send_comment(wrong)

    assert await streamed(connect) == b": \n\n: a\n: b\n\n"
