"""Plain functions as handlers: which ones, in which thread, in which order, and how they end."""

import asyncio
import contextvars
import functools
import inspect
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import pytest
from asgiref.sync import async_to_sync

from fast_channels.consumer import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    _threads,
    in_thread,
)
from fast_channels.exceptions import DenyConnection, StopConsumer
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Client, Serve

DEADLINE = 20

# Type checkers do not take a plain function for an override of a coroutine method, and are right
# for all that they can see. Where a test has none of in_thread, it is written without types.


def plain(base: type[AsyncConsumer], **methods: Any) -> Any:
    """A consumer class with these functions in it, as its author writes them."""
    return type("Plain", (base,), {"channel_layer_alias": "default", "groups": ["room"], **methods})


async def texts(client: "Client", number: int) -> list[str]:
    return [(await client.next())["text"] for _ in range(number)]


async def reached(event: asyncio.Event) -> None:
    async with asyncio.timeout(DEADLINE):
        await event.wait()


class Gate:
    """Where a thread waits until the test lets it go on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.entered = asyncio.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self._open.wait(DEADLINE)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if all threads but one were busy."""
    with ThreadPoolExecutor(1) as executor:
        monkeypatch.setattr(_threads, "_threads", executor)
        yield


# Which functions.


async def test_hooks_may_be_plain_functions(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    log: list[tuple[str, object]] = []
    here = threading.current_thread()

    def note(what: str, detail: object) -> None:
        assert threading.current_thread() is not here
        log.append((what, detail))

    def connect(self: AsyncJsonWebsocketConsumer) -> None:
        note("connect", self.scope["path"])
        async_to_sync(self.accept)()

    def receive_json(self: AsyncJsonWebsocketConsumer, content: object) -> None:
        note("receive_json", content)
        async_to_sync(self.send_json)({"echo": content})
        if content == "fault":
            raise LookupError(content)

    def chat_message(self: AsyncJsonWebsocketConsumer, event: Event) -> None:
        note("chat_message", event["text"])
        async_to_sync(self.send)(event["text"])

    def on_error(self: AsyncJsonWebsocketConsumer, exc: Exception, event: Event) -> None:
        note("on_error", repr(exc))

    def disconnect(self: AsyncJsonWebsocketConsumer, code: int) -> None:
        note("disconnect", code)

    functions = (connect, receive_json, chat_message, on_error, disconnect)
    app = plain(AsyncJsonWebsocketConsumer, **{f.__name__: f for f in functions})
    client = await serve.open(app)
    client.text("[1]", '"fault"')
    assert await texts(client, 2) == ['{"echo":[1]}', '{"echo":"fault"}']
    await default_layer.group_send("room", {"type": "chat.message", "text": "hello"})
    assert await texts(client, 1) == ["hello"]
    await client.leave(4000)
    assert log == [
        ("connect", "/"),
        ("receive_json", [1]),
        ("receive_json", "fault"),
        ("on_error", "LookupError('fault')"),
        ("chat_message", "hello"),
        ("disconnect", 4000),
    ]


async def test_an_http_request_may_be_handled_by_a_plain_function(serve: "Serve") -> None:
    class Answer(AsyncHttpConsumer):
        @in_thread
        def handle(self, body: bytes) -> None:
            async_to_sync(self.send_response)(200, body.upper())

    client = serve(Answer, type="http")
    client.give({"type": "http.request", "body": b"hello"})
    start, body = await client.ended()
    assert (start["status"], body["body"]) == (200, b"HELLO")


async def test_a_connection_may_be_refused_by_a_plain_function(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    def connect(self: AsyncWebsocketConsumer) -> None:
        raise DenyConnection

    client = serve(plain(AsyncWebsocketConsumer, connect=connect))
    client.give({"type": "websocket.connect"})
    assert [event["type"] for event in await client.ended()] == ["websocket.close"]


@pytest.mark.parametrize("parameter", ["event", "message"])
def test_a_function_that_takes_an_event_is_a_handler(parameter: str) -> None:
    source = f"def handler(self, {parameter}): ..."
    scope: dict[str, Any] = {}
    exec(source, scope)
    assert inspect.iscoroutinefunction(plain(AsyncConsumer, mark=scope["handler"]).mark)


class Helpers:
    """What a consumer has beside handlers; no event may reach any of it."""

    def content(self, content: object) -> None: ...
    def text(self, event: Event) -> str:
        return str(event)

    def pair(self, event: Event, other: object = None) -> None: ...
    def keywords(self, event: Event, *, other: object = None) -> None: ...
    def rest(self, event: Event, *others: object) -> None: ...
    def options(self, event: Event, **others: object) -> None: ...
    def nothing(self) -> None: ...
    def generator(self, event: Event) -> Iterator[None]:
        yield

    def _private(self, event: Event) -> None: ...
    @staticmethod
    def static(target: object, event: Event) -> None: ...
    @classmethod
    def of_the_class(cls, event: Event) -> None: ...
    @property
    def value(self) -> object:
        return None

    partial = functools.partial(print)


@pytest.mark.parametrize("name", [name for name in vars(Helpers) if name[:2] != "__"])
def test_other_functions_stay_as_they_are(name: str) -> None:
    member = vars(Helpers)[name]
    assert vars(plain(AsyncWebsocketConsumer, **{name: member}))[name] is member


def test_class_methods_of_json_stay_as_they_are() -> None:
    class Own(AsyncJsonWebsocketConsumer):
        @classmethod
        async def decode_json(cls, text_data: str) -> Any:
            return text_data

    assert isinstance(vars(Own)["decode_json"], classmethod)


async def test_a_mixin_that_is_no_consumer_is_not_changed(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Mixin:
        def mark(self, event: Event) -> None:
            async_to_sync(cast(AsyncWebsocketConsumer, self).send)(event["text"])

    original = Mixin.mark
    base = plain(AsyncWebsocketConsumer)
    client = await serve.open(type("Both", (Mixin, base), {}))
    await default_layer.group_send("room", {"type": "mark", "text": "x"})
    assert await texts(client, 1) == ["x"]
    assert Mixin.mark is original


async def test_a_function_may_return_what_is_to_be_awaited(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    def loud(
        method: Callable[..., Coroutine[Any, Any, None]],
    ) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, None]:
            assert threading.current_thread() is here
            return method(*args, **kwargs)

        return wrapper

    class Roundabout(AsyncWebsocketConsumer):
        channel_layer_alias = "default"

        def connect(self) -> Any:
            return self.accept()

        @loud
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.send("received")

    here = threading.current_thread()
    client = await serve.open(Roundabout)
    client.text("x")
    assert await texts(client, 1) == ["received"]


@pytest.mark.parametrize("name", ["coroutine", "generator", "builtin"])
def test_in_thread_is_for_plain_functions(name: str) -> None:
    async def coroutine(self: object) -> None: ...
    def generator(self: object) -> Iterator[None]:
        yield

    functions = {"coroutine": coroutine, "generator": generator, "builtin": len}
    with pytest.raises(TypeError, match=r"in_thread is for plain functions \(def\), not for <"):
        in_thread(functions[name])


async def test_without_a_connection_it_runs_in_a_thread_too() -> None:
    @in_thread
    def double(self: object, number: int) -> int:
        assert threading.current_thread() is not here
        return number * 2

    here = threading.current_thread()
    assert await double(None, 21) == 42


# Threads, loop and context.


async def test_a_busy_thread_delays_no_other_connection(
    serve: "Serve", default_layer: InMemoryChannelLayer, gate: Gate
) -> None:
    def receive(self: AsyncWebsocketConsumer, text_data: str) -> None:
        if text_data == "busy":
            gate.pass_through()
        async_to_sync(self.send)(text_data)

    app = plain(AsyncWebsocketConsumer, receive=receive)
    busy, other = await serve.open(app), await serve.open(app)
    busy.text("busy", "next")
    await reached(gate.entered)
    other.text("quick")
    assert await texts(other, 1) == ["quick"]
    gate.open()
    # In order: the next one did not begin before.
    assert await texts(busy, 2) == ["busy", "next"]


async def test_context_variables_travel_both_ways(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    user = contextvars.ContextVar[str]("user")

    class Named(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            user.set("Ada")
            await self.accept()

        @in_thread
        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            async_to_sync(self.send)(user.get())
            user.set(text_data or "")

    client = await serve.open(Named)
    client.text("Bob", "Eve")
    assert await texts(client, 2) == ["Ada", "Bob"]


@pytest.mark.usefixtures("one_thread")
async def test_a_thread_may_wait_for_another_handler_in_a_thread(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Nested(AsyncJsonWebsocketConsumer):
        @in_thread
        def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
        ) -> None:
            async_to_sync(super().receive)(text_data)

        @in_thread
        def receive_json(self, content: object, /) -> None:
            async_to_sync(self.send_json)(content)

    client = await serve.open(Nested)
    client.text("1", "2")
    assert await texts(client, 2) == ["1", "2"]


# Errors.


@pytest.mark.parametrize(
    ("error", "code"), [(LookupError("x"), 1011), (StopIteration(), 1011), (StopConsumer(), 1000)]
)
async def test_what_a_thread_raises_is_raised_by_the_handler(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: int,
) -> None:
    def receive(self: object, text_data: str) -> None:
        raise error

    client = await serve.open(plain(AsyncWebsocketConsumer, receive=receive))
    client.text("x")
    (close,) = await client.ended()
    assert close["code"] == code
    assert len(caplog.records) == (code == 1011)


# The end.


def consumer_with(
    handler: Callable[[AsyncWebsocketConsumer], None], log: list[str], **attributes: Any
) -> Any:
    def receive(self: AsyncWebsocketConsumer, text_data: str) -> None:
        try:
            handler(self)
            log.append("returned")
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    def disconnect(self: AsyncWebsocketConsumer, code: int) -> None:
        log.append(f"disconnect {code}")

    def on_error(self: AsyncWebsocketConsumer, exc: Exception, event: Event) -> None:
        log.append(f"on_error {exc!r}")

    methods = {"receive": receive, "disconnect": disconnect, "on_error": on_error}
    return plain(AsyncWebsocketConsumer, **methods, **attributes)


async def cancel(client: "Client") -> None:
    """What a server does that shuts down, or anyio, which does it again and again."""
    for _ in range(5):
        client.task.cancel()
        await asyncio.sleep(0)


async def test_disconnect_comes_after_a_thread_that_cannot_be_broken_off(
    serve: "Serve",
    default_layer: InMemoryChannelLayer,
    gate: Gate,
    settle: Callable[[], Awaitable[None]],
) -> None:
    log: list[str] = []
    client = await serve.open(consumer_with(lambda self: gate.pass_through(), log))
    client.text("x")
    await reached(gate.entered)
    await cancel(client)
    await settle()
    assert not client.task.done()
    assert log == []
    gate.open()
    await asyncio.wait([client.task], timeout=DEADLINE)
    assert log == ["returned", "disconnect 1006"]


async def test_a_call_is_waited_for_however_often_it_is_cancelled(
    gate: Gate, settle: Callable[[], Awaitable[None]]
) -> None:
    call = asyncio.create_task(in_thread(Gate.pass_through)(gate))
    await reached(gate.entered)
    for _ in range(5):
        call.cancel()
        await settle()
        assert not call.done()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_cancellation_is_not_forgotten_when_what_a_thread_waits_for_just_ends(
    gate: Gate,
) -> None:
    async def end_when_cancelled() -> None:
        gate.entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    call = asyncio.create_task(in_thread(lambda: async_to_sync(end_when_cancelled)())())
    await reached(gate.entered)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_what_a_thread_raises_after_its_cancellation_is_told(
    serve: "Serve", default_layer: InMemoryChannelLayer, gate: Gate
) -> None:
    def fail(self: object) -> None:
        gate.pass_through()
        raise LookupError("late")

    log: list[str] = []
    client = await serve.open(consumer_with(fail, log))
    client.text("x")
    await reached(gate.entered)
    await cancel(client)
    gate.open()
    await asyncio.wait([client.task], timeout=DEADLINE)
    assert log == ["LookupError", "on_error LookupError('late')", "disconnect 1006"]


async def test_a_coroutine_that_a_thread_waits_for_is_cancelled(
    serve: "Serve", default_layer: InMemoryChannelLayer, gate: Gate
) -> None:
    async def wait_for_ever() -> None:
        gate.entered.set()
        await asyncio.Event().wait()

    def handler(self: object) -> None:
        try:
            async_to_sync(wait_for_ever)()
        finally:
            gate.pass_through()

    log: list[str] = []
    client = await serve.open(consumer_with(handler, log))
    client.text("x")
    await reached(gate.entered)
    gate.entered.clear()
    await cancel(client)
    await reached(gate.entered)
    assert log == []
    gate.open()
    await asyncio.wait([client.task], timeout=DEADLINE)
    assert log == ["CancelledError", "disconnect 1006"]


@pytest.mark.usefixtures("one_thread")
async def test_a_call_that_waits_for_its_thread_is_given_up(
    serve: "Serve", default_layer: InMemoryChannelLayer, gate: Gate
) -> None:
    class Waiting(AsyncWebsocketConsumer):
        ended = False

        @in_thread
        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            if text_data == "busy":
                gate.pass_through()
            else:
                log.append("began")

        async def disconnect(self, code: int, /) -> None:
            log.append("disconnect")

    log: list[str] = []
    busy, waiting = await serve.open(Waiting), await serve.open(Waiting)
    busy.text("busy")
    await reached(gate.entered)
    waiting.text("x")
    while waiting.unread:  # noqa: ASYNC110  # until the reader has it
        await asyncio.sleep(0)
    await cancel(waiting)
    await asyncio.wait([waiting.task], timeout=DEADLINE)
    # The thread is busy all the time.
    assert log == ["disconnect"]
    gate.open()
    await busy.leave()
    assert log == ["disconnect"] * 2


# Processes.


@in_thread
def seven() -> int:
    return 7


def _call_in_child(results: "multiprocessing.SimpleQueue[int]") -> None:
    results.put(asyncio.run(seven()))


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this platform does not fork"
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert asyncio.run(seven()) == 7
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_call_in_child, args=(results,))
    child.start()
    child.join(DEADLINE)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    assert results.get() == 7


def test_idle_threads_do_not_hold_up_the_end_of_the_process() -> None:
    program = (
        "import asyncio\n"
        "from fast_channels.consumer import in_thread\n"
        "asyncio.run(in_thread(lambda self: print('done'))(None))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_no_thread_is_started_by_the_import() -> None:
    program = "import threading, fast_channels.consumer\nprint(threading.active_count())\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout == "1\n"
