"""Handlers that run beside the dispatch loop: how many, in which order, and how they end."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    concurrent,
    in_thread,
)
from fast_channels.exceptions import StopConsumer, UnhandledEventError
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

Settle = Callable[[], Awaitable[None]]


class Stage(AsyncJsonWebsocketConsumer):
    """Its handlers wait until they are released; it remembers what happened, in order."""

    channel_layer_alias = "default"
    groups = ["room"]

    def __init__(self) -> None:
        self.log: list[str] = []
        self.begun = asyncio.Queue[str]()
        self._gates: dict[str, asyncio.Future[None]] = {}

    def gate(self, name: str) -> asyncio.Future[None]:
        if name not in self._gates:
            self._gates[name] = asyncio.get_running_loop().create_future()
        return self._gates[name]

    def release(self, *names: str) -> None:
        for name in names:
            self.gate(name).set_result(None)

    async def act(self, name: str) -> None:
        """What a handler does: begin, wait, end."""
        self.log.append(f"{name} begins")
        self.begun.put_nowait(name)
        try:
            await self.gate(name)
        except asyncio.CancelledError:
            self.log.append(f"{name} is cancelled")
            raise
        self.log.append(f"{name} ends")
        await self.send(name)

    async def disconnect(self, code: int, /) -> None:
        self.log.append(f"disconnect {code}")

    async def begin(self, number: int) -> list[str]:
        """Wait until so many handlers have begun."""
        async with asyncio.timeout(20):
            return [await self.begun.get() for _ in range(number)]


class Pair(Stage):
    """Two of its handlers run at a time."""

    @concurrent(limit=2)
    async def receive_json(self, content: str, /) -> None:
        await self.act(content)

    @concurrent(limit=2)
    async def note(self, event: Event) -> None:
        await self.act(event["text"])


class Keyed(Stage):
    """Two of its handlers run at a time, one for each first letter."""

    @concurrent(limit=2, key=lambda content: content[0])
    async def receive_json(self, content: str, /) -> None:
        await self.act(content)


def say(client: "Client", *names: str) -> None:
    client.text(*(f'"{name}"' for name in names))


async def heard(client: "Client", number: int) -> list[str]:
    return [(await client.next())["text"] for _ in range(number)]


# How many run.


async def test_as_many_as_the_limit_run_at_once(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    consumer = Pair()
    client = await serve.open(consumer)
    names = [f"{number}" for number in range(40)]
    say(client, *names)
    assert await consumer.begin(2) == ["0", "1"]
    await settle()
    assert consumer.begun.empty()
    # The dispatch loop holds one, and 32 wait: the rest waits at the server.
    assert client.unread == 5
    consumer.release("1")
    assert await heard(client, 1) == ["1"]
    assert await consumer.begin(1) == ["2"]
    await settle()
    assert client.unread == 4
    consumer.release("0", *names[2:])
    assert sorted(await heard(client, 39)) == sorted(names[:1] + names[2:])
    await client.leave()


async def test_each_handler_has_a_limit_of_its_own(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    consumer = Pair()
    client = await serve.open(consumer)
    say(client, "a", "b")
    await consumer.begin(2)
    for text in "cd":
        await default_layer.group_send("room", {"type": "note", "text": text})
    assert await consumer.begin(2) == ["c", "d"]
    consumer.release(*"abcd")
    await heard(client, 4)


async def test_each_connection_has_a_limit_of_its_own(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    consumers = [Pair() for _ in range(3)]
    for consumer in consumers:
        await serve.open(consumer)
    for text in "ab":
        await default_layer.group_send("room", {"type": "note", "text": text})
    for consumer in consumers:
        assert await consumer.begin(2) == ["a", "b"]


async def test_ten_run_without_a_limit_given(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Bare(Stage):
        @concurrent
        async def receive_json(self, content: str, /) -> None:
            await self.act(content)

    consumer = Bare()
    client = await serve.open(consumer)
    say(client, *"abcdefghijk")
    assert await consumer.begin(10) == list("abcdefghij")
    await settle()
    assert consumer.begun.empty()


async def test_other_handlers_keep_their_order(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Mixed(Pair):
        async def plain(self, event: Event) -> None:
            await self.send(event["text"])

    consumer = Mixed()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    for number in range(20):
        await default_layer.group_send("room", {"type": "plain", "text": str(number)})
    assert await heard(client, 20) == list(map(str, range(20)))
    consumer.release("a")
    assert await heard(client, 1) == ["a"]


async def test_raw_frames_may_be_handled_at_once(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    def by_kind(text_data: str | None = None, bytes_data: bytes | None = None) -> bool:
        return text_data is None

    class Raw(Stage):
        @concurrent(limit=2, key=by_kind)
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
        ) -> None:
            await self.act(text_data or (bytes_data or b"").decode())

    consumer = Raw()
    client = await serve.open(consumer)
    client.text("a")
    client.give({"type": "websocket.receive", "bytes": b"b"})
    assert await consumer.begin(2) == ["a", "b"]


# The order by key.


async def test_calls_of_one_key_keep_their_order(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    consumer = Keyed()
    client = await serve.open(consumer)
    for n in range(3):
        say(client, f"a{n}", f"a{n}b", f"a{n}c", f"b{n}")
        # Those that wait for their key leave the second place to another key.
        assert await consumer.begin(2) == [f"a{n}", f"b{n}"]
        consumer.release(f"a{n}b", f"a{n}c", f"b{n}")
        assert await heard(client, 1) == [f"b{n}"]
        await settle()
        assert consumer.begun.empty()
        consumer.release(f"a{n}")
        assert await heard(client, 3) == [f"a{n}", f"a{n}b", f"a{n}c"]
        assert await consumer.begin(2) == [f"a{n}b", f"a{n}c"]
    assert consumer.log[:8] == [
        *("a0 begins", "b0 begins", "b0 ends", "a0 ends"),
        *("a0b begins", "a0b ends", "a0c begins", "a0c ends"),
    ]


async def test_no_more_than_the_limit_wait_for_their_key(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    consumer = Keyed()
    client = await serve.open(consumer)
    names = [f"a{number}" for number in range(40)]
    say(client, *names)
    assert await consumer.begin(1) == ["a0"]
    await settle()
    # One runs and two wait for it; the dispatch loop holds one, behind which 32 wait.
    assert client.unread == 4
    consumer.release(*names)
    assert await heard(client, 40) == names


async def test_a_place_is_kept_for_the_next_of_its_key_and_then_given_back(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    consumer = Keyed()
    client = await serve.open(consumer)
    say(client, "a1", "b1", "a2", "b2", "c1")
    assert await consumer.begin(2) == ["a1", "b1"]
    consumer.release("a1", "a2")
    assert await consumer.begin(2) == ["a2", "c1"]
    assert await heard(client, 2) == ["a1", "a2"]
    consumer.release("b1", "b2", "c1")
    assert sorted(await heard(client, 3)) == ["b1", "b2", "c1"]


async def test_a_fault_of_one_call_does_not_stop_its_key(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Lenient(Keyed):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.send(f"{exc!r} for {event['text']}")

    consumer = Lenient()
    client = await serve.open(consumer)
    say(client, "a1", "a2", "")
    await consumer.begin(1)
    consumer.gate("a1").set_exception(LookupError())
    consumer.release("a2")
    # An empty text has no first letter, so the key cannot be computed.
    assert sorted(await heard(client, 3)) == [
        "IndexError('string index out of range') for \"\"",
        'LookupError() for "a1"',
        "a2",
    ]


# Errors.


@pytest.mark.parametrize("frame", [True, False])
async def test_an_error_closes_the_connection_as_that_of_any_handler(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    caplog: pytest.LogCaptureFixture,
    frame: bool,
) -> None:
    consumer = Pair()
    client = await serve.open(consumer)
    if frame:
        say(client, "a")
    else:
        await default_layer.group_send("room", {"type": "note", "text": "a"})
    await consumer.begin(1)
    say(client, "b")
    await consumer.begin(1)
    consumer.gate("a").set_exception(LookupError("in a handler"))
    (close,) = await client.ended()
    assert (close["type"], close["code"]) == ("websocket.close", 1011)
    assert consumer.log == ["a begins", "b begins", "b is cancelled", "disconnect 1011"]
    (record,) = caplog.records
    assert ("websocket.receive" if frame else "note") in record.getMessage()
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "LookupError('in a handler')"


async def test_on_error_gets_the_event_of_the_call_that_failed(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Watched(Pair):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.send(f"{exc!r} for {event['text']}")

    consumer = Watched()
    client = await serve.open(consumer)
    say(client, "a")
    await default_layer.group_send("room", {"type": "note", "text": "b"})
    await consumer.begin(2)
    say(client, "c")
    await consumer.begin(1)
    consumer.gate("b").set_exception(LookupError("b"))
    assert await heard(client, 1) == ["LookupError('b') for b"]
    consumer.gate("a").set_exception(LookupError("a"))
    assert await heard(client, 1) == ["LookupError('a') for \"a\""]


async def test_signals_and_unhandled_events_are_no_errors(
    serve: "Serve", default_layer: InMemoryChannelLayer, counted: Callable[[], dict[str, int]]
) -> None:
    consumer = Pair()
    client = await serve.open(consumer)
    say(client, "a", "b")
    await consumer.begin(2)
    consumer.gate("a").set_exception(UnhandledEventError("what is this?"))
    say(client, "c")
    await consumer.begin(1)
    assert counted() == {"event.unhandled": 1}
    consumer.gate("b").set_exception(StopConsumer())
    (close,) = await client.ended()
    assert close["code"] == 1000
    assert consumer.log[-2:] == ["c is cancelled", "disconnect 1000"]


async def test_on_error_runs_to_its_end(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Careful(Pair):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.close(4000)
            await self.act("report")

    consumer = Careful()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    consumer.gate("a").set_exception(LookupError())
    assert await consumer.begin(1) == ["report"]
    await settle()
    assert not client.task.done()
    consumer.release("report")
    await client.ended()
    assert consumer.log == ["a begins", "report begins", "report ends", "disconnect 4000"]


async def test_on_error_is_not_cancelled_by_the_end(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Careful(Pair):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.act("report")

    consumer = Careful()
    client = await serve.open(consumer)
    say(client, "a", "b")
    await consumer.begin(2)
    consumer.gate("a").set_exception(LookupError())
    assert await consumer.begin(1) == ["report"]
    client_leaves(client, consumer)
    await settle()
    consumer.release("report")
    await client.ended()
    assert consumer.log[3:] == ["b is cancelled", "report ends", "disconnect 1001"]


async def test_something_that_is_cancelled_is_an_error_and_no_end(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Watched(Pair):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.send(type(exc.__cause__).__name__)

    consumer = Watched()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    consumer.gate("a").cancel()
    assert await heard(client, 1) == ["CancelledError"]


# The end.

Finish = Callable[["Client", Stage], None]


def client_leaves(client: "Client", consumer: Stage) -> None:
    client.give({"type": "websocket.disconnect", "code": 1001, "reason": ""})


def server_cancels(client: "Client", consumer: Stage) -> None:
    client.task.cancel()


def consumer_closes(client: "Client", consumer: Stage) -> None:
    client.text("close")


class Closing(Stage):
    """Runs two calls of each handler, and closes itself when it is told to."""

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        if text_data == "close":
            await self.close(4000)
        else:
            await self.work(text_data or "")

    @concurrent(limit=2, key=lambda name: name[0])
    async def work(self, name: str) -> None:
        await self.act(name)

    async def disconnect(self, code: int, /) -> None:
        await super().disconnect(code)
        await self.work("after the end")


async def test_leaving_is_noticed_while_calls_wait_for_places(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    consumer = Pair()
    client = await serve.open(consumer)
    say(client, *map(str, range(2 + 1 + 31)))
    await consumer.begin(2)
    await client.leave()
    assert sorted(consumer.log[2:4]) == ["0 is cancelled", "1 is cancelled"]
    assert consumer.log[4:] == ["disconnect 1001"]


@pytest.mark.parametrize("finish", [client_leaves, server_cancels, consumer_closes])
async def test_tasks_end_before_the_disconnect_hook(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    counted: Callable[[], dict[str, int]],
    finish: Finish,
) -> None:
    class Tidy(Closing):
        async def act(self, name: str) -> None:
            try:
                await super().act(name)
            except asyncio.CancelledError:
                # The channel is still there.
                await self.channel_layer.send(self.channel_name, {"type": "any"})
                await asyncio.sleep(0)
                raise

    consumer = Tidy()
    consumer.release("after the end")
    client = await serve.open(consumer)
    client.text("a1", "b1", "a2")  # The last one waits for its key.
    await consumer.begin(2)
    while client.unread:  # noqa: ASYNC110  # until the reader has it
        await asyncio.sleep(0)
    finish(client, consumer)
    await asyncio.wait([client.task])
    assert consumer.log[:2] == ["a1 begins", "b1 begins"]
    assert sorted(consumer.log[2:4]) == ["a1 is cancelled", "b1 is cancelled"]
    assert consumer.log[4].startswith("disconnect ")
    # A call from disconnect() is awaited there.
    assert consumer.log[5:] == ["after the end begins", "after the end ends"]
    assert "channel.gone" not in counted()


async def test_a_call_that_waits_for_a_place_is_dropped_at_the_end(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Closer(Pair):
        async def act(self, name: str) -> None:
            await super().act(name)
            await self.close(4000)

    consumer = Closer()
    client = await serve.open(consumer)
    say(client, "a", "b", "c", "d")
    await consumer.begin(2)
    await settle()
    consumer.release("a")
    await client.ended()
    assert consumer.log == [
        *("a begins", "b begins", "a ends"),
        *("b is cancelled", "disconnect 4000"),
    ]


async def test_a_call_that_ends_the_connection_goes_on(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Closer(Pair):
        async def act(self, name: str) -> None:
            if name == "close":
                await self.close(4000)
            await super().act(name)

    consumer = Closer()
    client = await serve.open(consumer)
    say(client, "a", "close")
    await consumer.begin(2)
    await settle()
    assert consumer.log == ["a begins", "close begins", "a is cancelled"]
    consumer.release("close")
    await client.ended()
    assert consumer.log[3:] == ["close ends", "disconnect 4000"]


async def test_a_call_whose_task_ends_the_connection_goes_on(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Closer(Pair):
        async def act(self, name: str) -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.close(4000))
            await super().act(name)

    consumer = Closer()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    await settle()
    consumer.release("a")
    await client.ended()
    assert consumer.log == ["a begins", "a ends", "disconnect 4000"]


async def test_tasks_that_begin_eagerly(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    eager_task_factory = getattr(asyncio, "eager_task_factory", None)
    if eager_task_factory is None:
        pytest.skip("Python 3.12 has the first eager tasks")

    class Closer(Keyed):
        async def act(self, name: str) -> None:
            if name == "quick":
                await self.send(name)
            elif name == "close":
                await self.close(4000)
                await super().act("rest")
            else:
                await super().act(name)

    asyncio.get_running_loop().set_task_factory(eager_task_factory)
    consumer = Closer()
    client = await serve.open(consumer)
    say(client, "quick", "a", "quick", "close")
    assert await heard(client, 2) == ["quick", "quick"]
    assert await consumer.begin(2) == ["a", "rest"]
    await settle()
    consumer.release("rest")
    await client.ended()
    assert consumer.log == [
        *("a begins", "rest begins", "a is cancelled"),
        *("rest ends", "disconnect 4000"),
    ]


async def test_the_server_cancels_even_a_call_that_ended_the_connection(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    class Closer(Pair):
        async def act(self, name: str) -> None:
            await self.close(4000)
            await super().act(name)

    consumer = Closer()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    await settle()
    client.task.cancel()
    await asyncio.wait([client.task])
    assert consumer.log == ["a begins", "a is cancelled", "disconnect 4000"]


class Stubborn(Pair):
    """Its handlers go on, whoever cancels them."""

    async def act(self, name: str) -> None:
        self.log.append(f"{name} begins")
        self.begun.put_nowait(name)
        while not self.gate(name).done():
            try:
                await asyncio.wait([self.gate(name)])
            except asyncio.CancelledError:
                self.begun.put_nowait("cancelled")
        self.log.append(f"{name} ends")


async def test_a_task_that_swallows_its_cancellation_is_waited_for(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    consumer = Stubborn()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    client_leaves(client, consumer)
    assert await consumer.begin(1) == ["cancelled"]
    await settle()
    assert not client.task.done()
    consumer.release("a")
    await client.ended()
    assert consumer.log == ["a begins", "a ends", "disconnect 1001"]


async def test_it_is_waited_for_even_if_all_tasks_are_cancelled_again(
    serve: "Serve", default_layer: InMemoryChannelLayer, settle: Settle
) -> None:
    consumer = Stubborn()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    for _ in range(3):
        # So asyncio.run() ends, and so do servers that lose their patience.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await consumer.begin(1)
        await settle()
    consumer.release("a")
    await asyncio.wait([client.task])
    assert consumer.log == ["a begins", "a ends", "disconnect 1006"]


async def test_an_error_while_it_is_cancelled_is_told(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Clumsy(Pair):
        async def act(self, name: str) -> None:
            try:
                await super().act(name)
            finally:
                raise LookupError("in its clean-up")

        async def on_error(self, exc: Exception, event: Event, /) -> None:
            self.log.append(repr(exc))

    consumer = Clumsy()
    client = await serve.open(consumer)
    say(client, "a")
    await consumer.begin(1)
    await client.leave()
    assert consumer.log[2:] == ["LookupError('in its clean-up')", "disconnect 1001"]


# Who calls.


async def test_without_a_connection_it_is_a_method_like_any_other() -> None:
    consumer = Pair()
    consumer.gate("a").set_exception(LookupError("to the caller"))
    with pytest.raises(LookupError, match="to the caller"):
        await consumer.receive_json("a")


async def test_a_handler_may_call_itself_and_other_tasks_may_call_it(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Recursive(Stage):
        @concurrent(limit=1)
        async def receive_json(self, content: int, /) -> None:
            if content:
                await self.receive_json(content - 1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.say(content))
            await self.send("after it")

        @concurrent(limit=1)
        async def say(self, content: object) -> None:
            await self.send(str(content))

    client = await serve.open(Recursive())
    client.text("2")
    assert await heard(client, 6) == ["0", "after it", "1", "after it", "2", "after it"]


async def test_context_variables_are_those_of_the_moment(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    user = contextvars.ContextVar[str]("user")

    class Named(Stage):
        async def connect(self) -> None:
            user.set("Ada")
            await self.accept()

        @concurrent
        async def receive_json(self, content: str, /) -> None:
            before = user.get()
            user.set(content)
            await self.act(content)
            await self.send(f"{before}, {user.get()}")

    consumer = Named()
    client = await serve.open(consumer)
    say(client, "Bob", "Eve")
    await consumer.begin(2)
    consumer.release("Bob", "Eve")
    assert sorted(await heard(client, 4)) == ["Ada, Bob", "Ada, Eve", "Bob", "Eve"]


async def test_plain_handlers_run_at_once_in_threads(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Threads(Stage):
        @concurrent(limit=3)
        @in_thread
        def note(self, event: Event) -> None:
            asyncio.run_coroutine_threadsafe(self.act(event["text"]), loop).result(20)

    loop = asyncio.get_running_loop()
    consumer = Threads()
    client = await serve.open(consumer)
    for text in "abc":
        await default_layer.group_send("room", {"type": "note", "text": text})
    assert sorted(await consumer.begin(3)) == ["a", "b", "c"]
    consumer.release(*"abc")
    assert sorted(await heard(client, 3)) == ["a", "b", "c"]


# What is refused.


async def test_a_key_that_cannot_be_hashed_is_named(
    serve: "Serve", default_layer: InMemoryChannelLayer, caplog: pytest.LogCaptureFixture
) -> None:
    class Tolerant(Keyed):
        error_policy = "ignore"

    consumer = Tolerant()
    client = await serve.open(consumer)
    client.text('[["a"]]', '"ada"')
    assert await consumer.begin(1) == ["ada"]
    consumer.release("ada")
    assert await heard(client, 1) == ["ada"]
    assert "the key of Keyed.receive_json is a list that cannot be hashed" in caplog.text
    await client.leave()


def test_a_concurrent_method_is_a_coroutine_method() -> None:
    assert inspect.iscoroutinefunction(Pair.receive_json)
    assert Pair.receive_json.__name__ == "receive_json"


@pytest.mark.parametrize(
    ("limit", "error", "text"),
    [
        (0, ValueError, "limit must be at least 1, not 0"),
        (True, TypeError, "limit must be an int, not True"),
        ("4", TypeError, "limit must be an int, not '4'"),
    ],
)
def test_a_limit_is_a_number_of_calls(limit: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        concurrent(limit=limit)


def test_a_plain_function_is_refused_with_what_to_do() -> None:
    def note(self: object, event: Event) -> None: ...

    with pytest.raises(TypeError, match=r"not for .*note: .*put @in_thread between the two"):
        concurrent(note)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def test_a_key_is_found_by_a_function() -> None:
    with pytest.raises(TypeError, match=r"key must be a function .*, not 'room'"):
        concurrent(key="room")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


@pytest.mark.parametrize("name", ["connect", "disconnect", "on_drain"])
def test_hooks_that_have_to_be_done_in_order_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"{name} cannot be @concurrent"):
        concurrent(limit=3)(getattr(AsyncWebsocketConsumer, name))
