"""How many groups the channel of a consumer may be in: on every layer, from any process."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from tcp_broker import MakeLayer

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import ChannelLayerUnavailable, TooManyGroups
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.layers._inbox import Done, pack, unpack
from fast_channels.limits import Limits

if TYPE_CHECKING:
    from conftest import Serve


class Member(AsyncWebsocketConsumer):
    channel_layer_alias = "limited"
    groups = ["own"]
    limits = Limits(groups=3)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        add = self.channel_layer.group_add
        if text_data is None:
            await self.send(str(self.channel_name))
        elif text_data.startswith("-"):
            await self.channel_layer.group_discard(text_data[1:], self.channel_name)
            await self.send("left")
        else:
            try:
                await add(text_data, self.channel_name)
                await self.send("joined")
            except TooManyGroups as error:
                whose = "its own" if error.channel == self.channel_name else error.channel
                await self.send(f"refused: {whose} limit is {error.limit}")


@pytest.fixture(params=["in memory", "broker"])
def shared(request: pytest.FixtureRequest, make_layer: MakeLayer) -> Iterator[BaseChannelLayer]:
    layer = InMemoryChannelLayer() if request.param == "in memory" else make_layer()
    register_channel_layer("limited", layer)
    yield layer
    unregister_channel_layer("limited")


async def test_a_consumer_joins_no_more_groups_than_it_may(
    serve: "Serve", counted: Callable[[], dict[str, int]], shared: BaseChannelLayer
) -> None:
    client = await serve.open(Member)
    for group, answer in (
        ("a", "joined"),
        ("b", "joined"),
        ("c", "refused: its own limit is 3"),
        ("a", "joined"),
        ("own", "joined"),
        ("-a", "left"),
        ("c", "joined"),
        ("a", "refused: its own limit is 3"),
        ("-never", "left"),
    ):
        client.text(group)
        assert (await client.next())["text"] == answer, group
    # In the refused group is nobody.
    await shared.group_send("a", {"type": "websocket.send", "text": "a"})
    await shared.group_send("c", {"type": "websocket.send", "text": "c"})
    assert (await client.next())["text"] == "c"
    await client.leave()
    assert counted() == {"limit.groups": 2}
    await shared.close()


async def test_other_channels_join_as_many_as_they_like(shared: BaseChannelLayer) -> None:
    channel = await shared.new_channel()
    for number in range(50):
        await shared.group_add(f"group.{number}", channel)
    await shared.close()


async def test_unlimited_consumers_have_no_limit(serve: "Serve", shared: BaseChannelLayer) -> None:
    class Unlimited(Member):
        limits = Limits(frame_bytes=100)

    client = await serve.open(Unlimited)
    for number in range(20):
        client.text(f"group.{number}")
        assert (await client.next())["text"] == "joined"
    await client.leave()
    await shared.close()


async def test_too_many_groups_of_the_class_are_an_error_in_connect(
    serve: "Serve", shared: BaseChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    class Mistaken(Member):
        groups = ["a", "b", "c", "d"]

    client = await serve.open(Mistaken)
    assert [event["code"] for event in await client.ended()] == [1011]
    assert "raised TooManyGroups" in caplog.text
    await shared.close()


async def test_another_process_may_not_add_it_either(
    serve: "Serve", counted: Callable[[], dict[str, int]], make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer()
    register_channel_layer("limited", here)
    try:
        client = await serve.open(Member)
        client.give({"type": "websocket.receive", "bytes": b"?"})
        channel = (await client.next())["text"]
        await asyncio.gather(*(there.group_add(group, channel) for group in "ab"))
        with pytest.raises(TooManyGroups) as refused:
            await there.group_add("c", channel)
        assert (refused.value.channel, refused.value.limit) == (channel, 3)
        await there.group_add("a", channel)
        await there.group_send("c", {"type": "websocket.send", "text": "c"})
        await there.group_send("b", {"type": "websocket.send", "text": "b"})
        assert (await client.next())["text"] == "b"
        await there.group_discard("a", channel)
        await there.group_add("c", channel)
        await client.leave()
    finally:
        unregister_channel_layer("limited")
    assert counted() == {"limit.groups": 1}
    assert not here._own_node().table.groups  # pyright: ignore[reportPrivateUsage]  # all left


async def test_a_group_that_could_not_be_joined_takes_no_place(
    serve: "Serve", make_layer: MakeLayer
) -> None:
    layer = make_layer(send_timeout=0.2)
    register_channel_layer("limited", layer)
    outcomes: list[str] = []

    class Unlucky(Member):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            node = layer._own_node()  # pyright: ignore[reportPrivateUsage]
            subscribe = node.connection.subscribe

            async def fail(group: str) -> None:
                raise ConnectionResetError

            node.connection.subscribe = fail  # type: ignore[method-assign]
            for group in ("a", "b", "c"):
                try:
                    await self.channel_layer.group_add(group, self.channel_name)
                except ChannelLayerUnavailable:
                    outcomes.append("unavailable")
            node.connection.subscribe = subscribe  # type: ignore[method-assign]
            for group in ("a", "b"):
                await self.channel_layer.group_add(group, self.channel_name)
            await self.send("done")

    try:
        client = await serve.open(Unlucky)
        client.text("go")
        assert (await client.next())["text"] == "done"
        await client.leave()
    finally:
        unregister_channel_layer("limited")
    assert outcomes == ["unavailable"] * 3


def test_nodes_of_the_version_before_understand_an_answer_and_are_understood() -> None:
    assert unpack(pack(Done(7, 3))) == Done(7, 3)
    assert unpack(b"\x92\xa1k\x07") == Done(7)
