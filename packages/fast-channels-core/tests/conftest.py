import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, settings

from fast_channels.consumer import AsyncConsumer, AsyncWebsocketConsumer, ConsumerApplication
from fast_channels.layers import (
    InMemoryChannelLayer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.statistics import statistics
from fast_channels.types import ASGIApp, Event, Receive, Scope, Send

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# --import-mode=importlib leaves it to us to make helpers importable, also in processes of tests.
sys.path.append(str(Path(__file__).parent))

from tcp_broker import broker as broker  # noqa: E402  # it can be found now
from tcp_broker import make_layer as make_layer  # noqa: E402
from tcp_broker import thread_broker as thread_broker  # noqa: E402


class _Clock:
    """Stands in for the module ``time`` where a layer looks at the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for the messages of layers; event loops do not notice."""
    clock = _Clock()
    monkeypatch.setattr("fast_channels.layers._mailbox.time", clock)
    monkeypatch.setattr("fast_channels.layers._codec.time", clock)
    return clock.advance


@pytest.fixture
def settle() -> Callable[[], Awaitable[None]]:
    """Lets every task go on until it waits for something."""

    async def let_others_run() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    return let_others_run


@pytest.fixture
def default_layer(layer: InMemoryChannelLayer) -> Iterator[InMemoryChannelLayer]:
    """The layer, registered as "default" during the test."""
    register_channel_layer("default", layer)
    yield layer
    unregister_channel_layer("default")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """What the process has counted as dropped since the test began; every reason logs again."""
    monkeypatch.setattr(statistics, "_counts", {})
    monkeypatch.setattr(statistics, "_logged", {})
    return statistics.snapshot


class LoopClock:
    """Stands in for the clock of an event loop: it stands still until time is passed."""

    def __init__(self, now: float, settle: Callable[[], Awaitable[None]]) -> None:
        self._now = now
        self.settle = settle

    def time(self) -> float:
        return self._now

    async def jump(self, seconds: float) -> None:
        """Let time pass as it does while something blocks the loop; then what is due runs."""
        self._now += seconds
        await self.settle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, so that whatever falls due in it runs when it does."""
        end = self._now + seconds
        while self._now < end:
            await self.jump(min(0.05, end - self._now))
        await self.settle()


@pytest.fixture
async def loop_clock(
    monkeypatch: pytest.MonkeyPatch, settle: Callable[[], Awaitable[None]]
) -> LoopClock:
    """The clock of the test's event loop."""
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop.time(), settle)
    monkeypatch.setattr(loop, "time", clock.time)
    return clock


DEADLINE: Final = 20
"""Seconds. Only a test that fails ever waits that long."""


class Client:
    """One connection as a server has it: a queue on either side of the application."""

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive | None, send: Send | None
    ) -> None:
        self.scope = scope
        self._to_app = asyncio.Queue[Event]()
        self._from_app = asyncio.Queue[Event | None]()
        self.task = asyncio.create_task(
            self._call(app, receive or self._to_app.get, send or self.sent)
        )

    async def _call(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        try:
            await app(self.scope, receive, send)
        finally:
            self._from_app.put_nowait(None)

    async def sent(self, event: Any, /) -> None:
        """The server's ``send``, unless the test has one of its own, which may call this one."""
        self._from_app.put_nowait(event)

    def give(self, *events: Event) -> None:
        """Let the application receive these events, as soon as it asks for them."""
        for event in events:
            self._to_app.put_nowait(event)

    def text(self, *texts: str) -> None:
        self.give(*({"type": "websocket.receive", "text": text} for text in texts))

    @property
    def unread(self) -> int:
        """How many events the application has not asked for yet."""
        return self._to_app.qsize()

    @property
    def unheard(self) -> int:
        """How many events the application has sent that nobody has asked for yet."""
        return self._from_app.qsize()

    async def next(self) -> Event:
        """The next event that the application sends."""
        async with asyncio.timeout(DEADLINE):
            event = await self._from_app.get()
        assert event is not None, f"the application ended and sent no more: {self.task}"
        return event

    async def ended(self) -> list[Event]:
        """Wait for the application's end; what it had sent that nobody had asked for.

        Raises what the application raised.
        """
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([self.task])
        self.task.result()
        return self.rest()

    def rest(self) -> list[Event]:
        """What the application, which has ended, had sent that nobody had asked for."""
        rest: list[Event] = []
        while (event := self._from_app.get_nowait()) is not None:
            rest.append(event)
        return rest

    async def open(self) -> "Client":
        """Connect a WebSocket that the application accepts."""
        self.give({"type": "websocket.connect"})
        event = await self.next()
        assert event["type"] == "websocket.accept", event
        return self

    async def leave(self, code: int = 1001) -> list[Event]:
        """Close the WebSocket as a client does, and wait for the end."""
        self.give({"type": "websocket.disconnect", "code": code, "reason": ""})
        return await self.ended()


class Serve:
    """Calls applications as a server does."""

    def __init__(self) -> None:
        self._clients: list[Client] = []

    def __call__(
        self,
        app: ASGIApp | type[AsyncConsumer],
        *,
        receive: Receive | None = None,
        send: Send | None = None,
        **scope: Any,
    ) -> Client:
        if isinstance(app, type) and issubclass(app, AsyncConsumer):
            application: ASGIApp = app.as_asgi()
        else:
            application = cast("ASGIApp", app)
        scope = {"type": "websocket", "path": "/", "headers": [], "client": ["::1", 5]} | scope
        client = Client(application, scope, receive, send)
        self._clients.append(client)
        return client

    async def open(self, app: ASGIApp | type[AsyncConsumer], **scope: Any) -> Client:
        """A WebSocket that is accepted."""
        return await self(app, **scope).open()

    async def stop(self) -> None:
        for client in self._clients:
            client.task.cancel()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(client.task for client in self._clients), return_exceptions=True)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves consumers during the test, and checks that they leave no task behind."""
    server = Serve()
    yield server
    await server.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


Act = Callable[["Actor"], Awaitable[None]]


class Actor(AsyncWebsocketConsumer):
    """Awaits, in each of its handlers, what it was made with."""

    channel_layer_alias = "default"
    groups = ["room"]

    def __init__(
        self,
        scene: "Scene",
        *,
        connect: Act = AsyncWebsocketConsumer.connect,
        receive: Act | None = None,
        event: Act | None = None,
        disconnect: Act | None = None,
        on_error: Act | None = None,
    ) -> None:
        self.scene = scene
        self._acts = {"connect": connect, "receive": receive, "event": event}
        self._acts |= {"disconnect": disconnect, "on_error": on_error}

    async def _act(self, name: str) -> None:
        if (act := self._acts[name]) is not None:
            await act(self)

    async def connect(self) -> None:
        await self._act("connect")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self._act("receive")

    async def event(self, event: Event) -> None:
        await self._act("event")

    async def disconnect(self, code: int, /) -> None:
        self.scene.ends.append(code)
        # Counted as for a channel that is gone, which it has to be by now.
        await self.channel_layer.send(self.channel_name, {"type": "event"})
        await self._act("disconnect")

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        if self._acts["on_error"] is None:
            await super().on_error(exc, event)
        else:
            await self._act("on_error")


class Scene:
    """What became of an :class:`Actor`."""

    def __init__(
        self, counted: Callable[[], dict[str, int]], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.counted = counted
        self._caplog = caplog
        self.ends: list[int] = []
        """The codes that ``disconnect`` was called with."""

    def app(self, **acts: Act) -> ConsumerApplication:
        return Actor.as_asgi(scene=self, **acts)

    def check(self, code: int) -> None:
        """``disconnect`` ran once, with this code, when the channel had been released."""
        assert self.ends == [code]
        assert self.counted()["channel.gone"] == 1

    def logged(self) -> list[str]:
        """The levels of what was logged about connections."""
        name = "fast_channels.consumer"
        return [record.levelname for record in self._caplog.records if record.name == name]


@pytest.fixture
def scene(
    default_layer: InMemoryChannelLayer,
    counted: Callable[[], dict[str, int]],
    caplog: pytest.LogCaptureFixture,
) -> Scene:
    caplog.set_level("DEBUG", "fast_channels.consumer")
    return Scene(counted, caplog)
