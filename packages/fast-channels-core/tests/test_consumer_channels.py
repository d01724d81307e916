"""A consumer and its layer: which one it has, its channel and its groups."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from asgiref.typing import WebSocketConnectEvent

from fast_channels.consumer import AsyncConsumer, AsyncWebsocketConsumer
from fast_channels.exceptions import InvalidChannelLayerError
from fast_channels.layers import (
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]


class Member(AsyncWebsocketConsumer):
    """Tells its channel's name, and the news that its channel or its group gets."""

    channel_layer_alias = "default"

    async def connect(self) -> None:
        await self.accept()
        await self.send(self.channel_name)

    async def news(self, event: Event) -> None:
        await self.send(event["text"])


class Grouped(Member):
    groups = ["one", "two"]


# Configuration: what is wrong is raised out of the call.


async def test_an_alias_that_is_not_registered_is_named_with_those_that_are(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Misled(AsyncConsumer):
        channel_layer_alias = "caht"

    client = serve(Misled)
    with pytest.raises(
        InvalidChannelLayerError, match=r"'caht' \(registered: 'default'\)"
    ) as error:
        await client.ended()
    (note,) = error.value.__notes__
    assert note.endswith("Misled.channel_layer_alias")


async def test_groups_without_a_layer(serve: "Serve") -> None:
    class Groundless(AsyncWebsocketConsumer):
        groups = ("lobby",)

    client = serve(Groundless)
    with pytest.raises(
        InvalidChannelLayerError,
        match=r"Groundless has no channel layer, so groups = \('lobby',\) cannot be used: "
        r"set channel_layer_alias to a registered alias \(registered: none\)",
    ):
        await client.ended()


async def test_groups_as_a_string(serve: "Serve", default_layer: InMemoryChannelLayer) -> None:
    class Typo(AsyncWebsocketConsumer):
        channel_layer_alias = "default"
        groups = "lobby"

    client = serve(Typo)
    with pytest.raises(TypeError, match=r"Typo\.groups must be a list .*, not the string 'lobby'"):
        await client.ended()


async def test_the_layer_is_looked_up_for_each_connection(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    app = Grouped.as_asgi()
    first = await serve.open(app)
    await first.next()
    other = InMemoryChannelLayer()
    register_channel_layer("default", other)
    second = await serve.open(app)
    await second.next()
    unregister_channel_layer("default")
    await other.group_send("one", {"type": "news", "text": "other"})
    await default_layer.group_send("one", {"type": "news", "text": "default"})
    assert (await first.next())["text"] == "default"
    assert (await second.next())["text"] == "other"


@pytest.mark.parametrize("attribute", ["channel_layer", "channel_name"])
async def test_a_consumer_without_a_layer_says_how_to_get_one(
    serve: "Serve", default_layer: InMemoryChannelLayer, attribute: str
) -> None:
    class Without(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            with pytest.raises(InvalidChannelLayerError) as error:
                getattr(self, attribute)
            await self.close(reason=str(error.value)[-99:])

    client = serve(Without)
    client.give({"type": "websocket.connect"})
    (closed,) = await client.ended()
    assert closed["reason"].endswith(
        "set channel_layer_alias to a registered alias (registered: 'default')"
    )
    with pytest.raises(InvalidChannelLayerError, match="Without has no channel layer"):
        getattr(Without(), attribute)


# Channel and groups.


async def test_messages_reach_the_channel_by_name_and_by_group(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    client = await serve.open(Grouped)
    channel = (await client.next())["text"]
    await default_layer.group_send("one", {"type": "news", "text": "1"})
    await default_layer.send(channel, {"type": "news", "text": "direct"})
    await default_layer.group_send("two", {"type": "news", "text": "2"})
    assert [(await client.next())["text"] for _ in range(3)] == ["1", "direct", "2"]


async def test_events_of_the_layer_reach_a_consumer_of_any_protocol(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Custom(AsyncConsumer):
        channel_layer_alias = "default"

        async def custom_join(self, event: Event) -> None:
            assert self.channel_layer is default_layer
            await self.channel_layer.group_add("room", self.channel_name)
            await self.send({"type": "custom.joined"})

        async def news(self, event: Event) -> None:
            await self.send(event)

    client = serve(Custom, type="custom")
    client.give({"type": "custom.join"})
    await client.next()
    await default_layer.group_send("room", {"type": "news", "text": "hello"})
    assert await client.next() == {"type": "news", "text": "hello"}


async def test_channels_have_different_names(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    clients = [await serve.open(Member) for _ in range(3)]
    assert len({(await client.next())["text"] for client in clients}) == 3


async def test_groups_are_joined_before_connect_runs(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Announcer(Grouped):
        async def connect(self) -> None:
            await self.channel_layer.group_send("two", {"type": "news", "text": "me, too"})
            await self.accept()

    client = await serve.open(Announcer)
    assert (await client.next())["text"] == "me, too"


async def test_groups_may_be_set_by_the_consumer(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Roomy(Member):
        async def websocket_connect(self, message: WebSocketConnectEvent) -> None:
            self.groups = [self.scope["path"].strip("/")]
            await super().websocket_connect(message)

    client = await serve.open(Roomy, path="/kitchen")
    await client.next()
    await default_layer.group_send("kitchen", {"type": "news", "text": "soup"})
    assert (await client.next())["text"] == "soup"


async def test_a_bad_group_name_is_an_error_of_the_connection(
    serve: "Serve", default_layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    class Misnamed(AsyncWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["no spaces, please"]

    client = await serve.open(Misnamed)
    assert [event["code"] for event in await client.ended()] == [1011]
    assert "is not a valid group name" in caplog.text


async def test_membership_and_channel_end_before_disconnect_runs(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    channels: list[str] = []

    class Goodbye(Grouped):
        async def disconnect(self, code: int, /) -> None:
            # Would come back to this consumer and find a closed socket, if it were a member.
            await self.channel_layer.group_send("one", {"type": "news", "text": "bye"})
            await self.channel_layer.group_send("later", {"type": "news", "text": "bye"})
            await self.channel_layer.send(self.channel_name, {"type": "news", "text": "bye"})
            channels.append(self.channel_name)

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.channel_layer.group_add("later", self.channel_name)

    leaver, stayer = await serve.open(Goodbye), await serve.open(Grouped)
    leaver.text("join")
    channel = (await leaver.next())["text"]
    await stayer.next()
    assert await leaver.leave() == []
    assert channels == [channel]
    assert counted() == {"channel.gone": 1}
    assert (await stayer.next())["text"] == "bye"


async def test_what_disconnect_does_with_groups_is_harmless(
    serve: "Serve", default_layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()

    class Tidy(Grouped):
        async def disconnect(self, code: int, /) -> None:
            for group in (*self.groups, "never"):
                await self.channel_layer.group_discard(group, self.channel_name)
            await self.channel_layer.group_add("one", self.channel_name)
            await self.channel_layer.close_channel(self.channel_name)
            done.set()

    client = await serve.open(Tidy)
    await client.leave()
    assert done.is_set()
    assert caplog.records == []


async def test_a_group_that_was_left_is_silent(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Leaver(Grouped):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.channel_layer.group_discard("one", self.channel_name)
            await self.send("left")

    client = await serve.open(Leaver)
    await client.next()
    client.text("leave")
    assert (await client.next())["text"] == "left"
    await default_layer.group_send("one", {"type": "news", "text": "1"})
    await default_layer.group_send("two", {"type": "news", "text": "2"})
    assert (await client.next())["text"] == "2"


async def test_messages_wait_until_connect_has_run(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Grouped):
        async def connect(self) -> None:
            entered.set()
            await go_on.wait()
            await self.accept()

    client = serve(Slow)
    client.give({"type": "websocket.connect"})
    await entered.wait()
    await default_layer.group_send("one", {"type": "news", "text": "patience"})
    go_on.set()
    assert (await client.next())["type"] == "websocket.accept"
    assert (await client.next())["text"] == "patience"


async def test_a_layer_that_closes_under_a_connection_leaves_its_end_orderly(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    codes: list[int] = []

    class Survivor(Member):
        async def disconnect(self, code: int, /) -> None:
            codes.append(code)

    client = await serve.open(Survivor)
    await client.next()
    await default_layer.close()
    await client.leave(1001)
    assert len(codes) == 1
