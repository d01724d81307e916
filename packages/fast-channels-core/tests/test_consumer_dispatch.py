"""Which methods an event from a layer reaches. Whoever can send to a group chooses its type."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from fast_channels.consumer import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
)
from fast_channels.exceptions import UnhandledEventError
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]

FOR_THE_LAYER = {"layer_gap", "websocket_send", "websocket_close"}


class Target(AsyncJsonWebsocketConsumer):
    """Has a handler, ``mark``, and much that is none."""

    channel_layer_alias = "default"
    groups = ["room"]
    settings = {"type": "attribute"}

    async def mark(self, event: Event) -> None:
        await self.send_json(event.get("text", "marked"))

    # What a class overrides is not for the layer, either.

    async def connect(self) -> None:
        await self.accept()

    async def disconnect(self, code: int, /) -> None:
        await self.close(4000)

    async def receive_json(self, content: Any, /) -> None:
        await self.close(4000)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        await super().close(code, reason)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        await super().on_error(exc, event)

    async def websocket_receive(self, message: Any) -> None:
        await super().websocket_receive(message)

    async def websocket_ping(self, event: Event) -> None:
        await self.close(4000)

    async def http_request(self, event: Event) -> None:
        await self.close(4000)

    async def lifespan_startup(self, event: Event) -> None:
        await self.close(4000)

    async def _private(self, event: Event) -> None:
        await self.close(4000)

    async def __mangled(self, event: Event) -> None:
        await self.close(4000)

    async def __aenter__(self) -> None:
        await self.__mangled({})

    # Nor is what is no coroutine method, and no plain one that looks like a handler.

    def synchronous(self, text: str) -> None:
        raise AssertionError

    def returns_a_value(self, event: Event) -> str:
        raise AssertionError

    def returns_an_awaitable(self, event: Event) -> Awaitable[None]:
        return self.close(4000)

    def has_more_parameters(self, event: Event, urgent: bool = False) -> None:
        raise AssertionError

    def has_an_option(self, event: Event, *, urgent: bool = False) -> None:
        raise AssertionError

    def takes_anything(self, event: Event, *args: Any, **kwargs: Any) -> None:
        raise AssertionError

    def takes_nothing(self) -> None:
        raise AssertionError

    def generates(self, event: Event) -> Iterator[None]:
        raise AssertionError

    @staticmethod
    def is_static(target: object, event: Event) -> None:
        raise AssertionError

    @property
    def secret(self) -> str:
        raise AssertionError

    @classmethod
    def build(cls, event: Event) -> None:
        raise AssertionError

    class Meta:
        """A class in the class."""


def types_for(name: str) -> set[str]:
    """The event types that stand for a method."""
    return {name, name.replace("_", ".")}


async def assert_alone(
    serve: "Serve", layer: InMemoryChannelLayer, counted: Counted, names: set[str]
) -> None:
    """Only ``mark`` may answer; every type in ``names`` is counted and does nothing."""
    client = await serve.open(Target)
    expected = 0
    for name in sorted(names):
        for event_type in sorted(types_for(name)):
            await layer.group_send("room", {"type": event_type, "code": 4001, "text": "x"})
            await layer.group_send("room", {"type": "mark"})
            assert await client.next() == {"type": "websocket.send", "text": '"marked"'}, event_type
            expected += 1
    assert counted() == {"event.unhandled": expected}


async def test_nothing_of_the_library_is_reached(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    names = set(dir(AsyncJsonWebsocketConsumer)) | set(dir(AsyncHttpConsumer)) - FOR_THE_LAYER
    assert {"close", "send", "accept", "dispatch", "websocket_connect", "broadcast"} <= names
    await assert_alone(serve, default_layer, counted, names - FOR_THE_LAYER)


async def test_nothing_but_handlers_of_the_class_is_reached(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    names = set(vars(Target)) - {"mark"}
    assert {"close", "_private", "_Target__mangled", "synchronous", "secret", "Meta"} <= names
    await assert_alone(serve, default_layer, counted, names)


@pytest.mark.parametrize("event_type", [".", "..", "mark.", "Mark", "mark()", "märk", "x" * 300])
async def test_odd_types_are_unknown_types(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted, event_type: str
) -> None:
    await assert_alone(serve, default_layer, counted, {event_type})


@pytest.mark.parametrize("base", [AsyncConsumer, AsyncHttpConsumer])
async def test_other_consumers_are_as_careful(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    counted: Counted,
    base: type[AsyncConsumer],
) -> None:
    started = asyncio.get_running_loop().create_future()

    class Probe:
        def application_started(
            self, consumer: AsyncConsumer, task: object, unfinished: object
        ) -> None:
            started.set_result(consumer)

        def application_error(self, exc: BaseException) -> None:
            raise AssertionError(exc)

    class Other(base):  # type: ignore[misc, valid-type]  # each of the two
        channel_layer_alias = "default"

        async def mark(self, event: Event) -> None:
            await self.base_send({"type": "marked"})

    client = serve(
        cast("type[AsyncConsumer]", Other),
        type="http" if base is AsyncHttpConsumer else "custom",
        extensions={"fast_channels.testing": Probe()},
    )
    consumer = await started
    names = set(dir(base)) - {"layer_gap"} | FOR_THE_LAYER - {"layer_gap"}
    for name in names:
        await default_layer.send(consumer.channel_name, {"type": name})
        await default_layer.send(consumer.channel_name, {"type": "mark"})
        assert await client.next() == {"type": "marked"}, name
    assert counted() == {"event.unhandled": len(names)}


# What is reached.


class Mixin:
    async def from_mixin(self, event: Event) -> None:
        await cast(AsyncWebsocketConsumer, self).send("mixin")


def loud(handler: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
    @functools.wraps(handler)
    async def wrapper(self: AsyncWebsocketConsumer, event: Event) -> None:
        await self.send("loud")
        await handler(self, event)

    return wrapper


class Base(Target):
    async def from_base(self, event: Event) -> None:
        await self.send("base")

    async def overridden(self, event: Event) -> None:
        await self.send("base")


class Derived(Mixin, Base):
    async def overridden(self, event: Event) -> None:
        await self.send("derived")

    async def chat_room_message_v2(self, event: Event) -> None:
        await self.send(repr(event))

    @loud
    async def decorated(self, event: Event) -> None:
        await self.send("decorated")


@pytest.mark.parametrize(
    ("event_type", "frames"),
    [
        ("mark", ['"x"']),
        ("from.mixin", ["mixin"]),
        ("from.base", ["base"]),
        ("overridden", ["derived"]),
        ("decorated", ["loud", "decorated"]),
        ("chat.room.message.v2", ["{'type': 'chat.room.message.v2', 'text': 'x'}"]),
        ("chat_room.message_v2", ["{'type': 'chat_room.message_v2', 'text': 'x'}"]),
    ],
)
async def test_handlers_of_the_application_are_reached(
    serve: "Serve", default_layer: InMemoryChannelLayer, event_type: str, frames: list[str]
) -> None:
    client = await serve.open(Derived)
    await default_layer.group_send("room", {"type": event_type, "text": "x"})
    assert [(await client.next())["text"] for _ in frames] == frames


async def test_a_gap_in_a_layer_reaches_its_handler(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    class Careful(Target):
        async def layer_gap(self, event: Event, /) -> None:
            await self.send("reload")

    plain, careful = await serve.open(Target), await serve.open(Careful)
    await default_layer.group_send("room", {"type": "layer.gap"})
    await default_layer.group_send("room", {"type": "mark"})
    assert (await plain.next())["text"] == '"marked"'
    assert [(await careful.next())["text"] for _ in range(2)] == ["reload", '"marked"']
    assert counted() == {}


async def test_receivers_share_no_value(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Careless(Target):
        async def listing(self, event: Event) -> None:
            event["list"].append("more")
            await self.send_json(event["list"])

    clients = [await serve.open(Careless) for _ in range(2)]
    message: Event = {"type": "listing", "list": []}
    await default_layer.group_send("room", message)
    assert [(await client.next())["text"] for client in clients] == ['["more"]'] * 2
    assert message["list"] == []


# What is not reached is told, and survived.


@pytest.mark.parametrize(
    ("event_type", "reason"),
    [
        ("_private", "event types that start with an underscore reach no handler"),
        ("close", "close is not for events from a channel layer"),
        ("websocket.ping", "websocket_ping is not for events from a channel layer"),
        ("synchronous", "Target.synchronous is not a coroutine method (async def), nor a plain"),
        ("not.there", "declare 'async def not_there(self, event)' (declared: mark)"),
    ],
)
async def test_the_log_says_why_an_event_was_not_handled(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    counted: Counted,
    caplog: pytest.LogCaptureFixture,
    event_type: str,
    reason: str,
) -> None:
    client = await serve.open(Target)
    for _ in range(3):
        await default_layer.group_send("room", {"type": event_type})
    await default_layer.group_send("room", {"type": "mark"})
    await client.next()
    # Counted each time, logged once in a second.
    assert counted() == {"event.unhandled": 3}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(
        f"Target has no handler for the event {event_type!r}: {reason}"
    )


async def test_dispatch_may_be_overridden(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Counted
) -> None:
    class Watcher(Target):
        seen: list[str] = []

        async def dispatch(self, message: Event, /) -> None:
            self.seen.append(message["type"])
            try:
                await super().dispatch(message)
            except UnhandledEventError:
                await self.send("what?")

    client = await serve.open(Watcher)
    await default_layer.group_send("room", {"type": "mark"})
    await default_layer.group_send("room", {"type": "close"})
    assert [(await client.next())["text"] for _ in range(2)] == ['"marked"', "what?"]
    await asyncio.sleep(0)  # Now the socket is idle.
    await default_layer.group_send("room", {"type": "websocket.send", "text": "frame"})
    assert (await client.next())["text"] == "frame"
    await client.leave()
    assert Watcher.seen == [
        "websocket.connect",
        "mark",
        "close",
        "websocket.send",
        "websocket.disconnect",
    ]
    assert counted().get("event.unhandled") is None
