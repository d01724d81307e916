"""The endings of connections: what their clients and consumers do."""

from contextlib import suppress
from typing import Final

from asgiref.sync import async_to_sync
from leak_visits import Case, PlannedError, Visit

from fast_channels.consumer import (
    AsyncHttpConsumer,
    AsyncSSEConsumer,
    AsyncWebsocketConsumer,
    Outbox,
    concurrent,
    in_thread,
)
from fast_channels.exceptions import ChannelFull
from fast_channels.limits import Limits, LimitsMiddleware
from fast_channels.types import ASGIApp, Event

CAPACITY: Final = 50
"""Of a channel: what the layers of a matrix are to be made with."""

AT_ONCE: Final = 10
"""Connections."""


class Guest(AsyncWebsocketConsumer):
    """Joins three groups, answers a frame with everything that a layer can do, and leaves."""

    channel_layer_alias = "default"
    groups = ["room"]

    @property
    def visit(self) -> Visit:
        visit: Visit = self.scope["visit"]
        return visit

    async def connect(self) -> None:
        self.visit.begun += 1
        await self.channel_layer.group_add("another", self.channel_name)
        await self.channel_layer.group_add(self.own_group, self.channel_name)
        await self.accept()

    @property
    def own_group(self) -> str:
        return self.channel_name.replace("!", ".")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        # The first two reach whoever is there.
        await self.broadcast("room", text="hello")
        await self.channel_layer.group_send("another", {"type": "notice"})
        await self.channel_layer.group_discard("another", self.channel_name)
        with suppress(ChannelFull):
            await self.channel_layer.send(self.channel_name, {"type": "notice"})
        await self.channel_layer.group_send(self.own_group, {"type": "event"})

    async def notice(self, event: Event) -> None:
        await self.send("notice")

    async def event(self, event: Event) -> None:
        await self.send("event")

    async def disconnect(self, code: int, /) -> None:
        self.visit.disconnects += 1
        await self.channel_layer.group_send("room", {"type": "notice"})
        await self.send("dropped")


class RaisesInConnect(Guest):
    async def connect(self) -> None:
        self.visit.begun += 1
        await self.channel_layer.group_add(self.own_group, self.channel_name)
        raise PlannedError


class RaisesInReceive(Guest):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        raise PlannedError


class RaisesInEvent(Guest):
    async def event(self, event: Event) -> None:
        await super().event(event)
        raise PlannedError


class RaisesInDisconnect(Guest):
    async def disconnect(self, code: int, /) -> None:
        await super().disconnect(code)
        raise PlannedError


class RaisesInOnError(RaisesInReceive):
    async def on_error(self, exc: Exception, event: Event, /) -> None:
        await self.send("sorry")
        raise PlannedError from exc


class Reports(RaisesInReceive):
    error_policy = "report"


class Ignores(RaisesInReceive):
    error_policy = "ignore"


class Refuses(Guest):
    async def connect(self) -> None:
        self.visit.begun += 1
        await self.channel_layer.group_add(self.own_group, self.channel_name)
        await self.refuse()

    async def refuse(self) -> None:
        await self.close()


class Rejects(Refuses):
    async def refuse(self) -> None:
        await self.reject(4403, "not you")


class Denies(Refuses):
    async def refuse(self) -> None:
        await self.reject(mode="denial", status=401, body="not you")


class Closes(Guest):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        await self.close(4000, "enough")
        await self.send("dropped")


class ClosedByAnother(Guest):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(self.own_group, {"type": "websocket.close"})


class IsBusy(Guest):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.visit.until("left")
        await super().receive(text_data)


class IsBrokenOff(Guest):
    cancel_on_disconnect = True

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            await self.visit.until("never")
        finally:
            await super().receive(text_data)


class HasAnOutbox(Guest):
    """Has more to say than fits."""

    outbox = Outbox(max_messages=2, overflow="close")
    close_timeout = 0.02

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        for number in range(5):
            await self.send(f"frame {number}")
        self.visit.reach("said")


class DropsFrames(HasAnOutbox):
    outbox = Outbox(max_messages=2, overflow="drop_oldest")


class WaitsForRoom(HasAnOutbox):
    """Hears of no others: only its own handler is to wait, not what would take the frame."""

    groups = []
    outbox = Outbox(max_messages=2, overflow="wait")

    async def notice(self, event: Event) -> None:
        pass


class ClosesUnread(DropsFrames):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        await self.close()


class IsTooSlow(Guest):
    overflow = "close"

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        with suppress(ChannelFull):
            for _ in range(CAPACITY + 1):
                await self.channel_layer.send(self.channel_name, {"type": "notice"})


class RunsBesideItself(Guest):
    @concurrent(limit=2)
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        self.visit.reach("busy")
        await self.visit.until("never")


class RaisesBesideItself(Guest):
    @concurrent
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)
        raise PlannedError


class RunsInAThread(Guest):
    @in_thread
    def notice(self, event: Event) -> None:
        async_to_sync(self.send)("notice")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await super().receive(text_data)


class RaisesInAThread(Guest):
    @in_thread
    def event(self, event: Event) -> None:
        raise PlannedError


class IsWatched(Guest):
    heartbeat_interval = 60


class IsLimited(Guest):
    limits = Limits(frame_bytes=4)


class IsDelayed(Guest):
    limits = Limits(frames_per_second=100, burst=1, on_excess="delay")


class JoinsTooManyGroups(Guest):
    limits = Limits(groups=2)


class Feed(AsyncSSEConsumer):
    channel_layer_alias = "default"
    groups = ["feed"]

    @property
    def visit(self) -> Visit:
        visit: Visit = self.scope["visit"]
        return visit

    async def connect(self, last_event_id: str | None) -> None:
        self.visit.begun += 1
        await self.send_event("hello")
        await self.broadcast_event("feed", "hello")
        await self.channel_layer.send(self.channel_name, {"type": "event"})

    async def event(self, event: Event) -> None:
        await self.send_comment()

    async def disconnect(self) -> None:
        self.visit.disconnects += 1
        await self.send_event("dropped")


class EndedFeed(Feed):
    async def event(self, event: Event) -> None:
        await self.close()


class RaisesInFeed(Feed):
    async def event(self, event: Event) -> None:
        raise PlannedError


class Answers(AsyncHttpConsumer):
    channel_layer_alias = "default"

    @property
    def visit(self) -> Visit:
        visit: Visit = self.scope["visit"]
        return visit

    async def handle(self, body: bytes) -> None:
        self.visit.begun += 1
        await self.channel_layer.group_add("room", self.channel_name)
        await self.channel_layer.group_send("room", {"type": "notice"})
        await self.answer()

    async def answer(self) -> None:
        await self.send_response(200, b"hello")

    async def notice(self, event: Event) -> None:
        await self.send_body(b"notice", more_body=True)

    async def disconnect(self) -> None:
        self.visit.disconnects += 1
        await self.channel_layer.group_send("room", {"type": "notice"})


class Streams(Answers):
    async def answer(self) -> None:
        await self.send_headers()


class RaisesInHandle(Answers):
    async def answer(self) -> None:
        raise PlannedError


class RaisesInStream(Streams):
    async def notice(self, event: Event) -> None:
        await super().notice(event)
        raise PlannedError


def _limited(app: ASGIApp) -> ASGIApp:
    limits = Limits(frame_bytes=4)
    return LimitsMiddleware(app, limits=limits, connections_per_client=AT_ONCE)


_CONNECT: Final[Event] = {"type": "websocket.connect"}
_FRAME: Final[Event] = {"type": "websocket.receive", "text": "hello"}
_REQUEST: Final[Event] = {"type": "http.request", "body": b"", "more_body": False}
_CALL: Final = (_CONNECT, "accept", _FRAME)
_ERROR: Final = ("PlannedError",)
_OUTBOX: Final = ("outbox.",)
_DENIABLE: Final[Event] = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
_HTTP: Final[Event] = {"type": "http"}
_GET: Final[Event] = {"type": "http", "method": "GET"}
_LIMIT: Final = ("limit.",)
_GROUPS: Final = ("limit.groups", "TooManyGroups")

CASES: Final = [
    Case("client leaves", Guest, (*_CALL, "event")),
    Case("client leaves at once", Guest, (_CONNECT,)),
    Case("client leaves a busy handler", IsBusy, _CALL),
    Case("client leaves a handler that is cancelled then", IsBrokenOff, _CALL),
    Case("client resets", Guest, (*_CALL, "event", "reset"), raised=ConnectionResetError),
    Case("raises in connect", RaisesInConnect, _CALL, logs=_ERROR),
    Case("raises in receive", RaisesInReceive, _CALL, logs=_ERROR),
    Case("raises in a layer event", RaisesInEvent, (*_CALL, "closed"), logs=_ERROR),
    Case("raises in disconnect", RaisesInDisconnect, _CALL, logs=_ERROR),
    Case("raises in on_error", RaisesInOnError, _CALL, logs=_ERROR),
    Case("reports errors", Reports, (*_CALL, "event"), logs=_ERROR),
    Case("ignores errors", Ignores, (*_CALL, "event"), logs=(*_ERROR, "handler.error")),
    Case("refuses", Refuses, _CALL),
    Case("rejects", Rejects, (_CONNECT, "closed")),
    Case("denies", Denies, _CALL, scope=_DENIABLE),
    Case("closes", Closes, (*_CALL, "closed")),
    Case("closed by a layer event", ClosedByAnother, (*_CALL, "closed")),
    Case("closes on overflow", IsTooSlow, (*_CALL, "closed"), logs=("is full",)),
    Case("outbox: closes", HasAnOutbox, (*_CALL, "closed"), reads=False, logs=_OUTBOX),
    Case("outbox: drops frames", DropsFrames, (*_CALL, "said"), reads=False, logs=_OUTBOX),
    Case("outbox: waits for room", WaitsForRoom, (*_CALL, "event"), logs=_OUTBOX),
    Case("outbox: handler waits for room", WaitsForRoom, _CALL, reads=False, logs=_OUTBOX),
    Case("outbox: closes unread", ClosesUnread, (*_CALL, "closed"), reads=False, logs=_OUTBOX),
    Case("concurrent: client leaves", RunsBesideItself, (*_CALL, _FRAME, _FRAME, "busy")),
    Case("concurrent: raises", RaisesBesideItself, _CALL, logs=_ERROR),
    Case("thread: client leaves", RunsInAThread, (*_CALL, "notice")),
    Case("thread: raises", RaisesInAThread, (*_CALL, "closed"), logs=_ERROR),
    Case("heartbeat: client leaves", IsWatched, (*_CALL, "event")),
    Case("limits: too large a frame", IsLimited, _CALL, logs=_LIMIT),
    Case("limits: client leaves a delay", IsDelayed, (*_CALL, _FRAME), logs=_LIMIT),
    Case("limits: too many groups", JoinsTooManyGroups, _CALL, logs=_GROUPS),
    Case("limits: by a middleware", Guest, _CALL, logs=_LIMIT, wrap=_limited),
    Case("SSE: client leaves", Feed, (_REQUEST, "body"), scope=_GET),
    Case("SSE: ends", EndedFeed, (_REQUEST, "closed"), scope=_GET),
    Case("SSE: raises", RaisesInFeed, (_REQUEST, "closed"), logs=_ERROR, scope=_GET),
    Case("HTTP: answers", Answers, (_REQUEST,), scope=_HTTP),
    Case("HTTP: client leaves a stream", Streams, (_REQUEST, "body"), scope=_HTTP),
    Case("HTTP: raises in handle", RaisesInHandle, (_REQUEST,), logs=_ERROR, scope=_HTTP),
    Case(
        "HTTP: raises in a layer event",
        RaisesInStream,
        (_REQUEST, "closed"),
        logs=_ERROR,
        scope=_HTTP,
    ),
]

STAYING: Final = [
    Case("stays", kind, (*_CALL, "event", "closed"), logs=_OUTBOX)
    for kind in (Guest, WaitsForRoom, IsWatched, IsBrokenOff)
]
"""Clients that stay until they are told to go."""
