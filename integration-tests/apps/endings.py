"""A consumer that ends in every way there is, and reports what it saw of its end.

The layer is that of the environment, see redis_layer.py. ``?id=`` names a client, ``?connect=``
says how to answer its handshake; after that each text frame is a command.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import Any, TypeAlias

import redis_layer as redis_layer  # registers it
from asgi import lifespan
from consumers import query
from reporting import report, report_log

from fast_channels.consumer import AsyncWebsocketConsumer, Outbox
from fast_channels.draining import drain
from fast_channels.layers import BrokerChannelLayer, InMemoryChannelLayer, get_channel_layer
from fast_channels.layers._local import LocalTable
from fast_channels.limits import Limits
from fast_channels.statistics import statistics
from fast_channels.types import ASGIApp, Event, Receive, Scope, Send

report_log()

CAPACITY = 10
"""Messages that a channel holds."""

known: dict[str, float] = {}
"""By client: since when it can be known that its connection ends, on the clock of time."""

released: dict[str, asyncio.Event] = {}
"""By client: what lets a busy handler end."""

tasks: dict[str, "asyncio.Task[None]"] = {}
"""By client: the task that runs a consumer and may be cancelled."""


def end_is_known(client: str) -> None:
    """Called at everything that ends a connection; the first of them counts."""
    known.setdefault(client, time.perf_counter())


def table() -> LocalTable:
    """The channels and groups of this process."""
    layer = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return layer._table  # pyright: ignore[reportPrivateUsage]  # to see that nothing is left
    assert isinstance(layer, BrokerChannelLayer)
    nodes = layer._nodes.values()  # pyright: ignore[reportPrivateUsage]  # likewise
    return next((node.table for node in nodes), LocalTable())


def groups_of(channel: str) -> list[str]:
    groups = table().groups.items()
    return [group for group, members in groups if channel in {each.name for each in members}]


class Ending(AsyncWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["endings"]

    disconnects = 0

    @property
    def id(self) -> str:
        return query(self.scope)["id"]

    @property
    def own_group(self) -> str:
        return f"ending.{self.id}"

    async def connect(self) -> None:
        await self.channel_layer.group_add(self.own_group, self.channel_name)
        match query(self.scope).get("connect"):
            case "raise":
                self.fail("in connect")
            case "refuse":
                end_is_known(self.id)
                await self.close(4403)
            case "close" | "denial" | "http" as mode:
                end_is_known(self.id)
                headers = [(b"content-type", b"text/plain")]
                await self.reject(4401, "who?", mode=mode, status=401, body="who?", headers=headers)
            case _:
                await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "close":
                end_is_known(self.id)
                await self.close(4001, "as you wish")
            case "close and talk on":
                end_is_known(self.id)
                await self.close(4002)
                await self.send("nobody hears this")
                await self.close(4003)
            case "raise":
                self.fail("in receive")
            case "raise in a handler":
                await self.channel_layer.group_send(self.own_group, {"type": "faulty.handler"})
            case "busy":
                await self.be_busy()
                await self.send("nobody hears this")
            case "flood":
                await self.flood()
            case "swamp":
                await self.swamp()
            case _:
                await self.send(text_data)

    def fail(self, where: str) -> None:
        end_is_known(self.id)
        raise LookupError(where)

    async def faulty_handler(self, event: Event) -> None:
        self.fail("in a handler")

    async def noise(self, event: Event) -> None:
        """One of the messages that are too many."""

    async def be_busy(self) -> None:
        released[self.id] = asyncio.Event()
        report("busy", id=self.id)
        try:
            await released[self.id].wait()
        except asyncio.CancelledError:
            report("cancelled", id=self.id)
            raise
        finally:
            del released[self.id]
            if self.id in known:  # The end had to wait for this.
                known[self.id] = time.perf_counter()

    async def flood(self) -> None:
        """Send more to the own group than the channel holds, and return when all has arrived."""
        # Behind this one in the group: what has come here has come to this consumer.
        witness = await self.channel_layer.new_channel()
        await self.channel_layer.group_add(self.own_group, witness)
        for _ in range(CAPACITY):
            await self.channel_layer.group_send(self.own_group, {"type": "noise"})
            await self.channel_layer.receive(witness)
        await self.channel_layer.group_send(self.own_group, {"type": "noise"})
        end_is_known(self.id)
        await self.channel_layer.receive(witness)
        await self.channel_layer.close_channel(witness)

    async def swamp(self) -> None:
        """Send frames until there is no room for another in the outbox."""
        before = closed_outboxes()
        while closed_outboxes() == before:
            known[self.id] = time.perf_counter()
            await self.send("x" * 100_000)
            # A server that takes frames in its own task may do so.
            await asyncio.sleep(0)

    async def on_drain(self, retry_after: float, /) -> None:
        end_is_known(self.id)

    async def disconnect(self, code: int, /) -> None:
        now = time.perf_counter()
        self.disconnects += 1
        report(
            "disconnect",
            id=self.id,
            code=code,
            times=self.disconnects,
            delay=now - known.get(self.id, float("-inf")),
            channel_open=self.channel_name in table().channels,
            groups=groups_of(self.channel_name),
        )
        # The client is gone, and so nothing of this may be an error.
        await self.send("too late")
        await self.close(4004)


class Impatient(Ending):
    cancel_on_disconnect = True


class Floodable(Ending):
    overflow = "close"


class Bounded(Ending):
    outbox = Outbox(max_bytes=1_000_000)


class Limited(Ending):
    limits = Limits(frame_bytes=100)


class Watched(Ending):
    heartbeat_interval = 0.1
    heartbeat_timeout = 0.5


def closed_outboxes() -> int:
    return statistics.snapshot().get("outbox.closed", 0)


Application: TypeAlias = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


def watched(consumer: type[Ending]) -> Application:
    """A consumer, and a look at what the server tells it."""
    application = consumer.as_asgi()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        client = query(scope)["id"]

        async def watched_receive() -> Any:
            try:
                event = await receive()
            except asyncio.CancelledError:
                end_is_known(client)
                raise
            if event["type"] == "websocket.disconnect":
                end_is_known(client)
                report("left", id=client)
            elif consumer.limits is not None and event.get("text"):
                known[client] = time.perf_counter()  # if this is the frame that is too long
            return event

        async def watched_send(event: MutableMapping[str, Any]) -> None:
            if event.get("text") == consumer.heartbeat_text:
                known[client] = time.perf_counter() + consumer.heartbeat_timeout
            await send(event)

        report("opened", id=client)
        try:
            await application(scope, watched_receive, watched_send)
        finally:
            report("returned", id=client)

    return run


async def cancelled(scope: Scope, receive: Receive, send: Send) -> None:
    """Runs a consumer as one does that gives up on its task, after a time limit for example."""
    client = query(scope)["id"]
    task = tasks[client] = asyncio.create_task(watched(Ending)(scope, receive, send))
    try:
        await task
    except asyncio.CancelledError:
        # The consumer's part is over: the one who cancelled it may say goodbye.
        await send({"type": "websocket.close", "code": 4999})
    finally:
        del tasks[client]


async def control(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the test wants, and say what there is in this process. Works during a drain, too."""
    order: Mapping[str, str] = json.loads((await receive()).get("body") or b"{}")
    match order:
        case {"release": client}:
            released[client].set()
        case {"cancel": client}:
            end_is_known(client)
            tasks[client].cancel()
        case {"drain": _}:
            await drain(timeout=10, jitter=0)
        case _:
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(contents()).encode()})


def contents() -> dict[str, Any]:
    here = table()
    return {
        "channels": list(here.channels),
        "groups": list(here.groups),
        "statistics": statistics.snapshot(),
    }


routes: Mapping[tuple[str, str], ASGIApp] = {
    ("websocket", "/ending"): watched(Ending),
    ("websocket", "/impatient"): watched(Impatient),
    ("websocket", "/floodable"): watched(Floodable),
    ("websocket", "/bounded"): watched(Bounded),
    ("websocket", "/limited"): watched(Limited),
    ("websocket", "/heartbeat"): watched(Watched),
    ("websocket", "/cancelled"): cancelled,
    ("http", "/control"): control,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, watched_lifespan(receive), send)
    else:
        await routes[scope["type"], scope["path"]](scope, receive, send)


def watched_lifespan(receive: Receive) -> Receive:
    async def watched_receive() -> Any:
        event = await receive()
        if event["type"] == "lifespan.shutdown":
            report("shutdown", **contents())
        return event

    return watched_receive
