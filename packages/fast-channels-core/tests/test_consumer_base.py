"""The consumer of any protocol: how it becomes an application, and what it is given."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from fast_channels.consumer import AsyncConsumer, AsyncWebsocketConsumer, ConsumerApplication
from fast_channels.exceptions import StopConsumer
from fast_channels.types import Event, Receive, Scope, Send

if TYPE_CHECKING:
    from conftest import Serve

Counted = Callable[[], dict[str, int]]


class Echo(AsyncConsumer):
    """Speaks a protocol of its own."""

    async def custom_say(self, event: Event) -> None:
        await self.send({"type": "custom.said", "text": event["text"]})

    async def custom_stop(self, event: Event) -> None:
        raise StopConsumer

    async def custom_fail(self, event: Event) -> None:
        raise ZeroDivisionError(event["text"])


class Greeting(AsyncConsumer):
    def __init__(self, greeting: str, *, mark: str = "!") -> None:
        self.text = greeting + mark

    async def custom_say(self, event: Event) -> None:
        await self.send({"type": "custom.said", "text": self.text, "from": id(self)})
        raise StopConsumer


# As an application.


async def test_each_call_makes_a_consumer_with_the_initkwargs(serve: "Serve") -> None:
    app = Greeting.as_asgi(greeting="hello", mark="?")
    makers: set[int] = set()
    clients = [serve(app, type="custom") for _ in range(3)]
    for client in clients:
        client.give({"type": "custom.say"})
        said = await client.next()
        assert said["text"] == "hello?"
        makers.add(said["from"])
    assert len(makers) == 3


def test_an_application_tells_what_it_is() -> None:
    app = Greeting.as_asgi(greeting="hello")
    assert isinstance(app, ConsumerApplication)
    assert app.consumer_class is Greeting
    assert app.consumer_initkwargs == {"greeting": "hello"}
    assert repr(app) == "Greeting.as_asgi(greeting='hello')"
    assert vars(Echo.as_asgi())["__doc__"] == "Speaks a protocol of its own."


def test_frameworks_take_an_application_for_one() -> None:
    # Starlette and asgiref decide by these between an ASGI application and a view.
    app = Echo.as_asgi()
    assert inspect.iscoroutinefunction(app.__call__)
    assert not inspect.isfunction(app)
    assert not inspect.ismethod(app)
    assert not inspect.isclass(app)


def test_initkwargs_are_copied() -> None:
    app = Greeting.as_asgi(greeting="hello")
    assert Greeting.as_asgi(**app.consumer_initkwargs).consumer_initkwargs is not (
        app.consumer_initkwargs
    )


@pytest.mark.parametrize(
    ("consumer", "initkwargs", "complaint"),
    [
        (Echo, {"greeting": "x"}, "unexpected keyword argument 'greeting'"),
        (Greeting, {}, "missing a required argument: 'greeting'"),
        (Greeting, {"greeting": "x", "marks": "?"}, "unexpected keyword argument 'marks'"),
    ],
)
def test_wrong_initkwargs_fail_when_the_routes_are_made(
    consumer: type[AsyncConsumer], initkwargs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(
        TypeError, match=rf"{consumer.__name__}\.as_asgi\(\): (got an )?{complaint}"
    ):
        consumer.as_asgi(**initkwargs)


async def test_an_instance_is_an_application_for_one_connection(serve: "Serve") -> None:
    client = serve(Greeting("hello"), type="custom")
    client.give({"type": "custom.say"})
    assert (await client.next())["text"] == "hello!"
    await client.ended()


async def test_an_instance_serves_no_second_connection(serve: "Serve") -> None:
    consumer = Greeting("hello")
    serve(consumer, type="custom").give({"type": "custom.say"})
    second = serve(consumer, type="custom")
    with pytest.raises(RuntimeError, match="one Greeting object was called for a second"):
        await second.ended()


async def test_a_view_may_hand_on_its_connection(serve: "Serve") -> None:
    class Connection:
        """As Starlette's WebSocket and Request are."""

        def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.scope, self.receive, self.send = scope, receive, send

    async def view(scope: Scope, receive: Receive, send: Send) -> None:
        await Greeting.as_asgi(greeting="hello")(Connection(scope, receive, send))

    client = serve(view, type="custom")
    client.give({"type": "custom.say"})
    assert (await client.next())["text"] == "hello!"
    await client.ended()


async def test_an_application_called_with_too_little_says_what_it_takes() -> None:
    app: Any = Echo.as_asgi()
    with pytest.raises(TypeError, match=r"Echo\.as_asgi\(\) takes a scope, receive and send"):
        await app({"type": "custom"})


# Scope.


@pytest.mark.parametrize(
    ("scope", "cookies"),
    [
        ({"headers": [(b"cookie", b"a=1; b=2")]}, {"a": "1", "b": "2"}),
        ({"headers": []}, {}),
        (
            {"headers": [(b"cookie", b"a=1")], "cookies": {"from": "middleware"}},
            {"from": "middleware"},
        ),
    ],
)
async def test_cookies_are_always_in_the_scope(
    serve: "Serve", scope: dict[str, Any], cookies: dict[str, str]
) -> None:
    scopes: list[Scope] = []

    class Look(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            scopes.append(self.scope)
            await self.close()

    client = serve(Look, **scope)
    client.give({"type": "websocket.connect"})
    await client.ended()
    assert scopes[0] is client.scope
    assert scopes[0]["cookies"] == cookies


async def test_a_scope_without_headers_has_no_cookies(serve: "Serve") -> None:
    scope: Scope = {"type": "lifespan"}
    events: list[Event] = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    class Lifespan(AsyncConsumer):
        async def lifespan_startup(self, event: Event) -> None:
            await self.send({"type": "lifespan.startup.complete"})

        async def lifespan_shutdown(self, event: Event) -> None:
            await self.send({"type": "lifespan.shutdown.complete"})
            raise StopConsumer

    async def receive() -> Event:
        return events.pop() if events else await asyncio.Event().wait() and {}

    sent: list[str] = []

    async def send(event: Any) -> None:
        sent.append(event["type"])

    await Lifespan.as_asgi()(scope, receive, send)
    assert scope["cookies"] == {}
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# Events of the server.


async def test_events_reach_the_methods_of_their_types(serve: "Serve") -> None:
    client = serve(Echo, type="custom")
    client.give(*({"type": "custom.say", "text": text} for text in "abc"))
    assert [(await client.next())["text"] for _ in range(3)] == ["a", "b", "c"]
    client.give({"type": "custom.stop"})
    assert await client.ended() == []


@pytest.mark.parametrize(
    "event_type", ["custom.unknown", "send", "as_asgi", "_make.protocol", "__init__", "scope", ""]
)
async def test_an_event_without_a_handler_is_counted_and_the_consumer_lives(
    serve: "Serve", counted: Counted, caplog: pytest.LogCaptureFixture, event_type: str
) -> None:
    client = serve(Echo, type="custom")
    client.give({"type": event_type}, {"type": "custom.say", "text": "alive"})
    assert (await client.next())["text"] == "alive"
    assert counted() == {"event.unhandled": 1}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"no handler for the server's event {event_type!r}" in caplog.text


async def test_the_last_event_is_the_clients_leaving(serve: "Serve") -> None:
    class Leaver(Echo):
        async def custom_disconnect(self, event: Event) -> None:
            await self.send({"type": "custom.bye", "code": event["code"]})

    client = serve(Leaver, type="custom")
    client.give({"type": "custom.disconnect", "code": 7}, {"type": "custom.say", "text": "late"})
    assert await client.ended() == [{"type": "custom.bye", "code": 7}]
    assert client.unread == 1


async def test_leaving_needs_no_handler(serve: "Serve", caplog: pytest.LogCaptureFixture) -> None:
    client = serve(Echo, type="custom")
    client.give({"type": "custom.disconnect"})
    assert await client.ended() == []
    assert caplog.records == []


async def test_send_gives_the_server_a_dict_of_its_own(serve: "Serve") -> None:
    event = {"type": "custom.said"}

    class Sender(AsyncConsumer):
        async def custom_say(self, message: Event) -> None:
            await self.send(event)

    client = serve(Sender, type="custom")
    client.give({"type": "custom.say"})
    sent = await client.next()
    assert sent == event
    assert sent is not event


async def test_dispatch_may_be_overridden(serve: "Serve") -> None:
    seen: list[str] = []

    class Watcher(Echo):
        async def dispatch(self, message: Event, /) -> None:
            seen.append(message["type"])
            await super().dispatch(message)

    client = serve(Watcher, type="custom")
    client.give({"type": "custom.say", "text": "a"}, {"type": "custom.disconnect"})
    assert [event["text"] for event in await client.ended()] == ["a"]
    assert seen == ["custom.say", "custom.disconnect"]


# Errors.


async def test_an_error_is_logged_with_the_connection_and_ends_the_consumer(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(Echo, type="custom", path="/where", client=("192.0.2.1", 4711))
    client.give({"type": "custom.fail", "text": "why"})
    await client.ended()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("fast_channels.consumer", "ERROR")
    assert record.getMessage() == (
        "Echo at '/where' for 192.0.2.1:4711: the handler of 'custom.fail' raised ZeroDivisionError"
    )
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "why"


async def test_stop_consumer_ends_quietly(serve: "Serve", caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "fast_channels")
    client = serve(Echo, type="custom", client=None)
    client.give({"type": "custom.stop"})
    assert await client.ended() == []
    assert caplog.records == []


async def test_on_error_decides_whether_the_consumer_lives(serve: "Serve") -> None:
    class Forgiving(Echo):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            if str(exc) == "worst":
                raise StopConsumer
            await self.send({"type": "custom.said", "text": f"{event['type']}: {exc!r}"})

    client = serve(Forgiving, type="custom")
    client.give({"type": "custom.fail", "text": "bad"})
    assert (await client.next())["text"] == "custom.fail: ZeroDivisionError('bad')"
    client.give({"type": "custom.fail", "text": "worst"})
    assert await client.ended() == []


async def test_an_error_in_on_error_is_logged_and_ends_the_consumer(
    serve: "Serve", caplog: pytest.LogCaptureFixture
) -> None:
    class Worse(Echo):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            raise LookupError("in on_error") from exc

    client = serve(Worse, type="custom")
    client.give({"type": "custom.fail", "text": "first"})
    await client.ended()
    (record,) = caplog.records
    assert "on_error failed" in record.getMessage()
    assert "LookupError: in on_error" in caplog.text
    assert "ZeroDivisionError: first" in caplog.text


async def test_a_test_kit_is_told_of_the_consumer_and_of_its_errors(serve: "Serve") -> None:
    class Probe:
        def __init__(self) -> None:
            self.started: list[tuple[object, asyncio.Task[None]]] = []
            self.errors: list[BaseException] = []

        def application_started(
            self, consumer: object, task: asyncio.Task[None], unfinished: object
        ) -> None:
            self.started.append((consumer, task))

        def application_error(self, exc: BaseException) -> None:
            self.errors.append(exc)

    class Quiet(Echo):
        async def on_error(self, exc: Exception, event: Event, /) -> None:
            await self.send({"type": "custom.task", "task": asyncio.current_task()})
            raise LookupError

    probe = Probe()
    client = serve(Quiet, type="custom", extensions={"fast_channels.testing": probe})
    client.give({"type": "custom.fail", "text": "first"})
    task = (await client.next())["task"]
    await client.ended()
    ((consumer, started),) = probe.started
    assert isinstance(consumer, Quiet)
    assert started is task
    assert [type(error) for error in probe.errors] == [ZeroDivisionError, LookupError]
