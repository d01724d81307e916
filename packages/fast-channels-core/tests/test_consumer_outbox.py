"""Outboxes: what waits for a client that reads slowly, what is dropped, and who waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, Outbox
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event, Send

if TYPE_CHECKING:
    from conftest import Client, Serve

Counted = Callable[[], dict[str, int]]
Settle = Callable[[], Awaitable[None]]
Wrap = Callable[[Send], Send]


class Talker(AsyncJsonWebsocketConsumer):
    """Sends what an event of the layer tells it to."""

    channel_layer_alias = "default"
    groups = ["room"]

    def __init__(self, outbox: Outbox | None = None) -> None:
        if outbox is not None:
            self.outbox = outbox
        self.sent: list[str] = []
        self.ends: list[int] = []
        self.errors: list[str] = []

    async def say(self, event: Event) -> None:
        for text in event["texts"]:
            await self.send(text, key=event.get("key"))
            self.sent.append(text)

    async def shut(self, event: Event) -> None:
        await self.close(4000)

    async def disconnect(self, code: int, /) -> None:
        self.ends.append(code)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        self.errors.append(f"{event['type']}: {exc!r}")
        await super().on_error(exc, event)


class ServersProtocol(asyncio.Protocol):
    """Has the server's own ``send``, as uvicorn does."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def asgi_send(self, event: Any) -> None:
        await self._send(event)


class Slow:
    """A client whose frames the server takes only while the gate is open."""

    def __init__(
        self, serve: "Serve", layer: InMemoryChannelLayer, wrap: Wrap, settle: Settle
    ) -> None:
        self.serve, self.layer, self.wrap, self.settle = serve, layer, wrap, settle
        self.gate = asyncio.Event()
        self.fault: Exception | None = None
        self.consumer: Talker
        self.client: Client

    async def open(self, consumer: Talker) -> "Slow":
        self.consumer = consumer
        self.client = self.serve(consumer, send=self.wrap(self._send))
        await self.client.open()
        await self.settle()
        return self

    async def _send(self, event: Any) -> None:
        if event["type"] == "websocket.send":
            await self.gate.wait()
            if self.fault is not None:
                raise self.fault
        await self.client.sent(event)

    async def say(self, *texts: str, key: str | None = None) -> None:
        """Let the consumer's handler send these."""
        message: Event = {"type": "say", "texts": list(texts)}
        await self.layer.group_send("room", message if key is None else message | {"key": key})
        await self.settle()

    async def broadcast(self, *texts: str, key: str | None = None) -> None:
        for text in texts:
            message = {"type": "websocket.send", "text": text}
            await self.layer.group_send("room", message if key is None else message | {"key": key})
        await self.settle()

    async def read(self, count: int) -> list[str]:
        self.gate.set()
        return [(await self.client.next())["text"] for _ in range(count)]


@pytest.fixture(params=["middleware", "server"])
def slow(
    request: pytest.FixtureRequest,
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    settle: Settle,
) -> Slow:
    def wrap(send: Send) -> Send:
        return ServersProtocol(send).asgi_send if request.param == "server" else send

    return Slow(serve, default_layer, wrap, settle)


# Order, and who waits.


@pytest.mark.parametrize("overflow", ["close", "wait", "drop_oldest"])
async def test_all_that_fits_comes_in_order(slow: Slow, overflow: Any) -> None:
    await slow.open(Talker(Outbox(max_messages=50, overflow=overflow)))
    await slow.say("1", "2")
    await slow.broadcast("3", "4")
    await slow.say("5")
    slow.gate.set()
    await slow.broadcast("6")
    await slow.say("7")
    assert await slow.read(7) == list("1234567")
    assert await slow.client.leave() == []


async def test_a_fast_client_gets_frames_at_once(slow: Slow) -> None:
    slow.gate.set()
    await slow.open(Talker(Outbox()))
    await slow.say(*"abc")
    assert [event["text"] for event in [await slow.client.next() for _ in range(3)]] == list("abc")


async def test_a_burst_to_a_fast_client_is_not_too_much(slow: Slow, counted: Counted) -> None:
    slow.gate.set()
    await slow.open(Talker(Outbox(max_messages=2)))
    texts = [str(number) for number in range(100)]
    await slow.say(*texts)
    await slow.broadcast(*texts)
    assert await slow.read(200) == texts + texts
    assert counted() == {}


async def test_handlers_do_not_wait(slow: Slow) -> None:
    await slow.open(Talker(Outbox()))
    await slow.say(*"abc")
    assert slow.consumer.sent == list("abc")


async def test_handlers_wait_for_room(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=2, overflow="wait")))
    await slow.say(*"abcdef")
    # One is on its way, two wait, and a handler waits with the fourth.
    assert slow.consumer.sent == list("abc")
    await slow.broadcast("g")
    assert await slow.read(7) == list("abcdefg")
    assert slow.consumer.sent == list("abcdef")


async def test_waiting_tasks_take_turns(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=1, overflow="wait")))
    senders = [asyncio.create_task(slow.consumer.send(text)) for text in "abcdef"]
    await slow.settle()
    senders[3].cancel()
    await slow.settle()
    assert await slow.read(5) == list("abcef")
    await asyncio.gather(*senders, return_exceptions=True)


async def test_nobody_overtakes_who_waits(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=1, overflow="wait")))
    await slow.say("a")
    senders = [asyncio.create_task(slow.consumer.send(text)) for text in "bcd"]
    await slow.settle()

    async def hurry() -> None:
        # Its turn comes when the writer has made room and who waited for it has not run.
        await slow.gate.wait()
        await slow.consumer.send("late")

    late = asyncio.create_task(hurry())
    await slow.settle()
    assert await slow.read(5) == ["a", "b", "c", "d", "late"]
    await asyncio.gather(*senders, late)


async def test_a_place_that_is_not_taken_is_the_next_ones(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=1, overflow="wait")))
    await slow.say("a")
    senders = [asyncio.create_task(slow.consumer.send(text)) for text in "bcd"]
    await slow.settle()

    async def cancel() -> None:
        await slow.gate.wait()
        senders[1].cancel()

    canceller = asyncio.create_task(cancel())
    await slow.settle()
    assert await slow.read(3) == ["a", "b", "d"]
    await asyncio.gather(*senders, canceller, return_exceptions=True)


# What is dropped.


async def test_the_newest_is_dropped(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox(max_messages=2, overflow="drop_newest")))
    await slow.say("a")
    await slow.say(*"bcde")
    assert slow.consumer.sent == list("abcde")
    assert counted() == {"outbox.full": 2}
    assert await slow.read(3) == list("abc")
    await slow.say("f")
    assert await slow.read(1) == ["f"]


async def test_the_oldest_is_dropped(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox(max_messages=2, overflow="drop_oldest")))
    await slow.broadcast("a")
    await slow.broadcast(*"bcde")
    assert counted() == {"outbox.full": 2}
    assert await slow.read(3) == list("ade")


@pytest.mark.parametrize("by", ["say", "broadcast"])
async def test_the_latest_of_a_key_takes_the_place_of_the_last(
    slow: Slow, counted: Counted, by: str
) -> None:
    await slow.open(Talker(Outbox(max_messages=3, overflow="latest_per_key")))
    send = getattr(slow, by)
    await send("on its way", key="a")
    for round_ in range(100):
        await send(f"a{round_}", key="a")
        await send(f"b{round_}", key="b")
    await send("no key")
    assert counted() == {"outbox.replaced": 198}
    await send("c1", key="c")
    # Three wait: the oldest had to go.
    assert counted() == {"outbox.replaced": 198, "outbox.full": 1}
    assert await slow.read(4) == ["on its way", "b99", "no key", "c1"]
    await send("a100", key="a")
    assert await slow.read(1) == ["a100"]


async def test_a_key_means_nothing_to_others(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=9, overflow="drop_oldest")))
    await slow.say("a", key="k")
    await slow.broadcast("b", "c", key="k")
    assert await slow.read(3) == ["a", "b", "c"]


@pytest.mark.parametrize("key", [1, ["a"], {}])
async def test_a_key_of_a_message_is_a_str(slow: Slow, counted: Counted, key: Any) -> None:
    await slow.open(Talker(Outbox()))
    await slow.broadcast("a", key=key)
    assert counted() == {"event.unhandled": 1}
    await slow.broadcast("b")
    assert await slow.read(1) == ["b"]


async def test_the_budget_is_also_one_of_bytes(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox(max_bytes=10, overflow="drop_newest")))
    await slow.say("on its way")
    await slow.say("12345", "\u20ac\u20ac", "123456", "12345", "1")
    assert counted() == {"outbox.full": 3}
    assert await slow.read(3) == ["on its way", "12345", "12345"]


async def test_a_frame_above_the_budget_goes_alone(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox(max_bytes=10, overflow="drop_newest")))
    await slow.say("on its way")
    await slow.say("x" * 100, "1")
    assert counted() == {"outbox.full": 1}
    assert await slow.read(2) == ["on its way", "x" * 100]


async def test_a_frame_that_takes_a_place_counts_by_its_own_size(
    slow: Slow, counted: Counted
) -> None:
    await slow.open(Talker(Outbox(max_bytes=10, overflow="latest_per_key")))
    await slow.say("on its way")
    await slow.say("123", key="a")
    await slow.say("456", key="b")
    await slow.say("12345678", key="b")
    # Both are too much now, and the oldest has to go.
    assert counted() == {"outbox.replaced": 1, "outbox.full": 1}
    await slow.say("1", key="b")
    await slow.say("789", key="c")
    assert counted() == {"outbox.replaced": 2, "outbox.full": 1}
    assert await slow.read(3) == ["on its way", "1", "789"]


# The end.


async def test_too_slow_is_closed(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox(max_messages=2, overflow="close")))
    await slow.broadcast(*"abcd")
    closed = {"type": "websocket.close", "code": 1013, "reason": "too slow for its messages"}
    assert await slow.client.ended() == [closed]
    assert slow.consumer.ends == [1013]
    assert counted() == {"outbox.closed": 1, "outbox.unsent": 2}


async def test_what_was_sent_before_the_close_comes_before_it(slow: Slow) -> None:
    await slow.open(Talker(Outbox()))
    await slow.say(*"abc")
    await slow.layer.group_send("room", {"type": "shut"})
    await slow.settle()
    # Nobody waits for the client but the close frame.
    assert slow.consumer.ends == [4000]
    slow.gate.set()
    assert [event.get("text", event["type"]) for event in await slow.client.ended()] == [
        *"abc",
        "websocket.close",
    ]


async def test_a_client_that_never_reads_is_given_up(slow: Slow, counted: Counted) -> None:
    consumer = Talker(Outbox())
    consumer.close_timeout = 0.01
    await slow.open(consumer)
    await slow.say(*"abc")
    await slow.layer.group_send("room", {"type": "shut"})
    assert await slow.client.ended() == []
    assert consumer.ends == [4000]
    assert counted() == {"outbox.unsent": 2}


@pytest.mark.parametrize("overflow", ["wait", "drop_newest"])
async def test_the_client_leaves_while_frames_wait(
    slow: Slow, counted: Counted, overflow: Any
) -> None:
    await slow.open(Talker(Outbox(max_messages=2, overflow=overflow)))
    await slow.say("a")
    await slow.say(*"bcd")
    assert await slow.client.leave(1001) == []
    assert slow.consumer.ends == [1001]
    assert slow.consumer.sent == list("abcd")
    assert counted()["outbox.unsent"] >= 2


async def test_overflow_of_the_mailbox_frees_a_handler_that_waits_in_send(
    slow: Slow, counted: Counted
) -> None:
    class Strict(Talker):
        overflow = "close"

    await slow.open(Strict())
    await slow.say(*"abcd")
    assert slow.consumer.sent == list("ab")
    for _ in range(200):
        await slow.layer.group_send("room", {"type": "say", "texts": []})
    ended = await slow.client.ended()
    assert [event["code"] for event in ended] == [1013]
    assert slow.consumer.ends == [1013]


async def test_the_server_says_that_the_client_is_gone(slow: Slow, counted: Counted) -> None:
    await slow.open(Talker(Outbox()))
    slow.fault = ConnectionResetError()
    await slow.say(*"abc")
    slow.gate.set()
    await slow.settle()
    assert counted()["send.after_close"] == 1
    await slow.say("d")
    assert counted()["send.after_close"] == 2
    assert slow.consumer.errors == []
    assert await slow.client.leave(1006) == []
    assert slow.consumer.ends == [1006]


async def test_a_write_that_fails_is_an_error_of_the_application(slow: Slow) -> None:
    await slow.open(Talker(Outbox()))
    slow.fault = ValueError("in a middleware")
    slow.gate.set()
    await slow.say("a")
    await slow.client.ended()
    assert slow.consumer.errors == ["websocket.send: ValueError('in a middleware')"]
    assert slow.consumer.ends == [1011]


async def test_the_server_cancels_while_frames_wait(slow: Slow) -> None:
    await slow.open(Talker(Outbox(max_messages=1, overflow="wait")))
    await slow.say(*"abc")
    slow.client.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow.client.ended()
    assert slow.consumer.ends == [1006]


async def test_tasks_that_begin_eagerly(slow: Slow, counted: Counted) -> None:
    eager_task_factory = getattr(asyncio, "eager_task_factory", None)
    if eager_task_factory is None:
        pytest.skip("Python 3.12 has the first eager tasks")
    asyncio.get_running_loop().set_task_factory(eager_task_factory)
    await slow.open(Talker(Outbox(max_messages=3)))
    await slow.say("a", "b")
    await slow.broadcast("c")
    assert await slow.read(3) == list("abc")
    slow.gate.clear()
    await slow.say("d", "e")
    await slow.layer.group_send("room", {"type": "shut"})
    slow.gate.set()
    ended = [event.get("text", event["type"]) for event in await slow.client.ended()]
    assert ended == ["d", "e", "websocket.close"]
    assert slow.consumer.ends == [4000]


# Options.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_messages": 0}, r"Outbox\.max_messages is 0, expected 1 or more"),
        ({"max_bytes": -1}, r"Outbox\.max_bytes is -1, expected 1 or more"),
        ({"overflow": "drop"}, r"Outbox\.overflow is 'drop', expected one of \('close', "),
    ],
)
def test_options_are_checked(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outbox(**options)


@pytest.mark.parametrize("number", ["10", 1.5, True, None])
def test_a_number_that_is_no_int_is_refused(number: Any) -> None:
    with pytest.raises(TypeError, match=rf"Outbox\.max_bytes must be an int, not {number!r}"):
        Outbox(max_bytes=number)


@pytest.mark.parametrize("outbox", [200, Outbox])
def test_what_is_no_outbox_is_refused_with_its_class(outbox: Any) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.outbox must be an Outbox or None, not "):
        type("Wrong", (AsyncWebsocketConsumer,), {"outbox": outbox})


@pytest.mark.parametrize("consumer", [AsyncWebsocketConsumer(), AsyncJsonWebsocketConsumer()])
async def test_a_key_is_text(serve: "Serve", consumer: AsyncWebsocketConsumer) -> None:
    await serve.open(consumer)
    wrong: Any = 5
    with pytest.raises(TypeError, match="key must be a str or None, not 5"):
        await consumer.send("a", key=wrong)
    if isinstance(consumer, AsyncJsonWebsocketConsumer):
        with pytest.raises(TypeError, match="key must be a str or None, not 5"):
            await consumer.send_json("a", key=wrong)


def test_there_is_none_by_default() -> None:
    assert AsyncWebsocketConsumer.outbox is None
