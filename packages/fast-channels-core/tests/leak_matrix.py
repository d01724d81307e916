"""The endings of connections, thousands of each, and what is left of them: the leak matrix."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final, TypeAlias

from asgiref.sync import async_to_sync
from leak_census import census, log_lines
from leak_visits import Case, Cut, PlannedError, Visit, watched_tasks

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
DEADLINE: Final = 20
"""Seconds for as many connections. Only those that hang ever take that long."""


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
    outbox = Outbox(max_messages=2, overflow="wait")


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


@dataclass
class Row:
    """What one case came to."""

    title: str
    endings: int = 0
    cancelled: int = 0
    problems: Counter[str] = field(default_factory=Counter[str])
    """What was wrong with single endings, or was logged without a cause in the application."""
    left: Counter[str] = field(default_factory=Counter[str])
    """What is there now and was not before, by class or by table."""

    @property
    def is_clean(self) -> bool:
        return not self.problems and not self.left


Way: TypeAlias = tuple[Case, Callable[[Case, int], Awaitable[Row]]]


class Matrix:
    """Lets connections come and end on the layer that is registered as "default"."""

    def __init__(
        self,
        *roots: object,
        cases: Sequence[Case] = CASES,
        at_once: int = AT_ONCE,
        patience: float = DEADLINE,
        eager: bool = False,
        memories: Collection[str] = (),
    ) -> None:
        """``roots``: the layer, and what else has tables. ``patience``: seconds within which a
        thread or a broker has to forget, too. ``eager``: see :func:`watched_tasks`.
        ``memories``: tables that keep the latest of something for ever."""
        self._cases = cases
        self._roots = (*roots, *cases)
        self._at_once = at_once
        self._patience = patience
        self._eager = eager
        self._memories = frozenset(memories)
        self._before: Counter[str] = Counter()

    @property
    def ways(self) -> list[Way]:
        """Each case by itself, and cancelled at each of its awaits."""
        both = (self._undisturbed, self._cancelled)
        return [(case, way) for case in self._cases for way in both]

    async def warm_up(self) -> None:
        """Fill what the first connection of a kind fills for ever, and is not to be counted."""
        for case, way in self.ways:
            await way(case, 1)
        self._before = census(*self._roots)

    async def run(self, way: Way, endings: int) -> Row:
        """One of the ways, ``endings`` times or some more, and what is left since the beginning."""
        case, end = way
        row = await end(case, endings)
        deadline = time.monotonic() + self._patience
        while (left := self._left()) and time.monotonic() < deadline:  # noqa: ASYNC110  # nobody tells of that
            await asyncio.sleep(0.01)
        row.left = left
        return row

    async def _undisturbed(self, case: Case, endings: int) -> Row:
        row = Row(case.title)
        while row.endings < endings:
            await self._visit(row, case, [None] * self._at_once)
        return row

    async def _cancelled(self, case: Case, endings: int) -> Row:
        """At its first await, its second, and so on until there are no more; then again."""
        row = Row(f"{case.title}, cancelled")
        while row.endings < endings:
            places = (Cut(at, late) for at in count(1) for late in (False, True))
            while True:
                cuts = list(islice(places, self._at_once))
                visits = await self._visit(row, case, cuts)
                if not all(visit.cancelled for visit in visits):
                    break
        return row

    async def _visit(self, row: Row, case: Case, cuts: Sequence[Cut | None]) -> list[Visit]:
        """One connection for each, all at once."""
        visits = [Visit(case, cut) for cut in cuts]
        with log_lines() as lines, watched_tasks(eager=self._eager):
            running = {asyncio.create_task(visit.run()): visit for visit in visits}
            _, hanging = await asyncio.wait(running, timeout=DEADLINE)
            for task in hanging:
                running[task].problems.append(f"hangs after {running[task].awaits} awaits")
                task.cancel()
        row.endings += len(visits)
        row.cancelled += sum(visit.cancelled for visit in visits)
        for visit, cut in zip(visits, cuts, strict=True):
            row.problems.update(f"{problem} ({cut})" for problem in visit.problems)
        row.problems.update(line for line in lines if not any(each in line for each in case.logs))
        return visits

    def _left(self) -> Counter[str]:
        now = census(*self._roots)
        for name in self._memories:
            del now[name]
        # Those before left none of these either.
        return +(now - self._before | Counter({name: now[name] for name in MUST_BE_EMPTY}))


MUST_BE_EMPTY: Final = (
    *("Visit", "Connection", "LocalTable.channels", "LocalTable.groups"),
    *("Subscriptions._confirmed", "Broker.groups"),
)
