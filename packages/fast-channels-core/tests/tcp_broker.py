"""A small broker over TCP, and a channel layer on it: what the test_broker_* modules run on.

The sockets are real, so what a fault does to them is real, too. Several layers on one broker
stand for as many processes.
"""

import asyncio
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, cast

import msgspec
import pytest

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers import BrokerChannelLayer, BrokerConnection
from fast_channels.layers._background import stop as stop_background
from fast_channels.layers.broker import Node
from fast_channels.types import Message

DEADLINE: Final = 20
"""Seconds. Only a test that fails ever waits that long."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Link(asyncio.Protocol):
    """Either end of a TCP connection that carries lists: MessagePack, its length in front."""

    transport: asyncio.Transport

    def __init__(
        self,
        take: Callable[["Link", list[Any]], None],
        lost: Callable[["Link"], None],
        made: Callable[["Link"], None] = lambda _: None,
    ) -> None:
        self._made = made
        self._take = take
        self._lost = lost
        self._buffer = bytearray()
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.busy_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not say so
        self._made(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            end = start + 4 + int.from_bytes(buffer[start : start + 4])
            if len(buffer) < end:
                break
            self._take(self, _decode(buffer[start + 4 : end]))
            start = end
        del buffer[:start]

    def send(self, *values: Any) -> None:
        body = _encode(values)
        self.transport.write(len(body).to_bytes(4) + body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)
        self.ended.set_result(None)


class Hold:
    """Commands that the broker has put aside, not done and not answered."""

    def __init__(self, broker: "Broker", command: str) -> None:
        self._broker = broker
        self._command = command
        self._held: list[tuple[Link, list[Any]]] = []
        self._arrived = asyncio.Event()
        self.arrived_for_threads = threading.Event()

    def put(self, link: Link, frame: list[Any]) -> None:
        self._held.append((link, frame))
        self._arrived.set()
        self.arrived_for_threads.set()

    @property
    def frames(self) -> list[list[Any]]:
        return [frame for _, frame in self._held]

    async def arrived(self) -> None:
        """Return when there is one."""
        async with asyncio.timeout(DEADLINE):
            await self._arrived.wait()

    async def arrived_in_another_thread(self) -> None:
        await asyncio.to_thread(self.arrived_for_threads.wait, DEADLINE)

    def release(self) -> None:
        """Do them, and hold none any more."""
        del self._broker.holds[self._command]
        for link, frame in self._held:
            self._broker.carry_out(link, frame)


class Broker:
    """Nodes, groups and general channels; every command is answered in the order of sending."""

    def __init__(self) -> None:
        self.port = 0
        self.commands = Counter[str]()
        """What was carried out so far, by name."""
        self.holds: dict[str, Hold] = {}
        self.delay: Callable[[], float] = lambda: 0
        self.groups: dict[str, dict[Link, None]] = {}
        self.inboxes: dict[str, Link] = {}
        self.queues: dict[str, deque[tuple[float, bytes]]] = {}
        self._pulls: dict[str, deque[tuple[Link, int]]] = {}
        self._refusals = Counter[str]()
        self._frozen: list[tuple[Link, list[Any]]] | None = None
        self.links: dict[Link, None] = {}
        self._server: asyncio.Server | None = None
        self._loop = asyncio.get_running_loop()

    # What tests do to it.

    async def start(self) -> None:
        """Listen, on the port as before if there was one; general channels are kept."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Break every connection and listen no more."""
        if self._server is not None:
            self._server.close()
            await self.cut()
            await self._server.wait_closed()
            self._server = None

    async def cut(self) -> None:
        """Break every connection, as a network does."""
        links = list(self.links)
        for link in links:
            link.transport.abort()
        if links:
            await asyncio.wait([link.ended for link in links])

    async def on_its_loop(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a method where the broker has a thread of its own."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def freeze(self) -> None:
        """Do and answer nothing until :meth:`thaw`, as a process that was stopped."""
        self._frozen = []

    def thaw(self) -> None:
        frozen, self._frozen = self._frozen, None
        for link, frame in frozen or ():
            self._arrive(link, frame)

    def hold(self, command: str) -> Hold:
        """Put aside what comes of a command from now on."""
        hold = self.holds[command] = Hold(self, command)
        return hold

    def refuse(self, command: str, times: int) -> None:
        """Answer a command with an error this often."""
        self._refusals[command] = times

    def to_inbox(self, node_id: str, data: bytes) -> None:
        self.inboxes[node_id].send(0, "inbox", data)

    def to_group(self, group: str, data: bytes) -> None:
        for link in self.groups.get(group, ()):
            link.send(0, "group", group, data)

    # How it works.

    def _accept(self) -> Link:
        return Link(self._arrive, self._lost, self._accepted)

    def _accepted(self, link: Link) -> None:
        self.links[link] = None

    def _lost(self, link: Link) -> None:
        del self.links[link]
        for group in list(self.groups):
            self._leave(link, group)
        for node_id in [node_id for node_id, owner in self.inboxes.items() if owner is link]:
            del self.inboxes[node_id]
        for channel, pulls in self._pulls.items():
            self._pulls[channel] = deque(pull for pull in pulls if pull[0] is not link)

    def _arrive(self, link: Link, frame: list[Any]) -> None:
        if self._frozen is not None:
            self._frozen.append((link, frame))
            return
        if frame[1] in self.holds:
            self.holds[frame[1]].put(link, frame)
            return
        if (delay := self.delay()) or link.busy_until:
            loop = asyncio.get_running_loop()
            # Commands of one link never overtake each other.
            link.busy_until = max(loop.time() + delay, link.busy_until + 1e-6)
            loop.call_at(link.busy_until, self.carry_out, link, frame)
            return
        self.carry_out(link, frame)

    def carry_out(self, link: Link, frame: list[Any]) -> None:
        if link.transport.is_closing():
            return
        call, command, *arguments = frame
        self.commands[command] += 1
        if self._refusals[command] > 0:
            self._refusals[command] -= 1
            link.send(call, "error", f"{command} was refused")
            return
        if command == "pull":
            self._pull(link, call, *arguments)
        elif command == "forget":
            self._forget(link, call, *arguments)
        else:
            link.send(call, "done", getattr(self, f"_{command}")(link, *arguments))

    def _hello(self, link: Link, node_id: str, groups: list[str]) -> None:
        self.inboxes[node_id] = link
        for group in groups:
            self._subscribe(link, group)

    def _subscribe(self, link: Link, group: str) -> None:
        self.groups.setdefault(group, {})[link] = None

    def _unsubscribe(self, link: Link, group: str) -> None:
        self._leave(link, group)

    def _leave(self, link: Link, group: str) -> None:
        links = self.groups.get(group, {})
        links.pop(link, None)
        if not links:
            self.groups.pop(group, None)

    def _publish(self, _link: Link, group: str, data: bytes) -> None:
        self.to_group(group, data)

    def _send(self, _link: Link, node_id: str, data: bytes) -> bool:
        if node_id not in self.inboxes:
            return False
        self.to_inbox(node_id, data)
        return True

    def _push(self, _link: Link, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        if pulls := self._pulls.get(channel):
            link, call = pulls.popleft()
            link.send(call, "done", data)
            return True
        queue = self._queue(channel)
        if len(queue) >= capacity:
            return False
        queue.append((time.monotonic() + expiry, data))
        return True

    def _give_back(self, _link: Link, channel: str, data: bytes) -> None:
        if pulls := self._pulls.get(channel):
            link, call = pulls.popleft()
            link.send(call, "done", data)
        else:
            self._queue(channel).appendleft((float("inf"), data))

    def _pull(self, link: Link, call: int, channel: str) -> None:
        if queue := self._queue(channel):
            link.send(call, "done", queue.popleft()[1])
        else:
            self._pulls.setdefault(channel, deque()).append((link, call))

    def _forget(self, link: Link, call: int, channel: str) -> None:
        if (link, call) in (pulls := self._pulls.get(channel, deque())):
            pulls.remove((link, call))
            link.send(call, "error", "forgotten")

    def _flush(self, _link: Link) -> None:
        self.queues.clear()

    def _queue(self, channel: str) -> deque[tuple[float, bytes]]:
        queue = self.queues.setdefault(channel, deque())
        while queue and queue[0][0] <= time.monotonic():
            queue.popleft()
        return queue


class TcpConnection(BrokerConnection):
    """What a backend has to write."""

    def __init__(self, node: Node, port: int) -> None:
        super().__init__(node)
        self._port = port
        self.link: Link | None = None
        self.closed = True
        self.groups_when_made = node.groups
        self._call_ids = itertools.count(1)
        self._pulls: dict[int, str] = {}
        """Channels by call, until the broker has answered, whoever still waits for that."""

    async def connect(self) -> None:
        self.closed = False
        self.link = await self._open()

    async def close(self) -> None:
        self.closed = True
        link, self.link = self.link, None
        if link is not None:
            link.transport.abort()
            await asyncio.wait([link.ended])

    async def subscribe(self, group: str) -> None:
        await self._call("subscribe", group)

    async def unsubscribe(self, group: str) -> None:
        await self._call("unsubscribe", group)

    async def publish(self, group: str, data: bytes) -> None:
        await self._call_once("publish", group, data)

    async def send_to_node(self, node_id: str, data: bytes) -> bool:
        return bool(await self._call_once("send", node_id, data))

    async def push(self, channel: str, data: bytes, capacity: int, expiry: float) -> bool:
        return bool(await self._call_once("push", channel, data, capacity, expiry))

    async def pull(self, channel: str) -> tuple[bytes, float]:
        link, call, reply = self._start_call("pull", channel)
        self._pulls[call] = channel
        try:
            data: bytes = await reply
        except asyncio.CancelledError:
            if reply.done() and not reply.cancelled() and reply.exception() is None:
                link.send(0, "give_back", channel, reply.result())
            elif call in self._pulls and not link.transport.is_closing():
                link.send(call, "forget", channel)
            raise
        finally:
            del link.calls[call]
        return data, 0

    async def flush(self) -> None:
        await self._call("flush")

    async def _call(self, command: str, *arguments: Any) -> Any:
        link, call, reply = self._start_call(command, *arguments)
        try:
            return await reply
        finally:
            del link.calls[call]

    async def _call_once(self, command: str, *arguments: Any) -> Any:
        """For what must not be done twice."""
        link, call, reply = self._start_call(command, *arguments)
        try:
            return await reply
        except ConnectionError as error:
            if link is self.link:
                raise  # The broker has refused it.
            raise ChannelLayerUnavailable(f"{error}; it may have been done") from error
        finally:
            del link.calls[call]

    def _start_call(
        self, command: str, *arguments: Any, link: Link | None = None
    ) -> tuple[Link, int, asyncio.Future[Any]]:
        link = link or self.link
        if link is None:
            raise ConnectionError("the test broker is away")
        call = next(self._call_ids)
        reply = link.calls[call] = self.node.loop.create_future()
        link.send(call, command, *arguments)
        return link, call, reply

    def _took(self, link: Link, frame: list[Any]) -> None:
        match frame:
            case [0, "inbox", data]:
                self.node.deliver(data)
            case [0, "group", group, data]:
                self.node.deliver_to_group(group, data)
            case [call, outcome, value]:
                reply = link.calls.get(call)
                channel = self._pulls.pop(call, None)
                if reply is None or reply.done():
                    # The caller has given up, or is cancelled and has yet to notice.
                    if channel is not None and outcome == "done":
                        link.send(0, "give_back", channel, value)
                elif outcome == "done":
                    reply.set_result(value)
                else:
                    reply.set_exception(ConnectionError(value))
            case _:
                raise AssertionError(frame)

    def _lost(self, link: Link) -> None:
        if link is self.link:
            self.link = None
            self._pulls.clear()
            self.node.run(self._reconnect())
        for reply in link.calls.values():
            if not reply.done():
                reply.set_exception(ConnectionError("the connection to the test broker broke"))

    async def _open(self) -> Link:
        _, link = await self.node.loop.create_connection(
            lambda: Link(self._took, self._lost), "127.0.0.1", self._port
        )
        try:
            hello = self._start_call("hello", self.node.id, self.node.groups, link=link)
            await hello[2]
        except BaseException:
            link.transport.abort()
            await asyncio.wait([link.ended])
            raise
        return link

    async def _reconnect(self) -> None:
        pause = 0.01
        while True:
            try:
                self.link = await self._open()
            except OSError:
                await asyncio.sleep(pause)
            else:
                break
        self.node.gap()


class TcpLayer(BrokerChannelLayer):
    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(**options)
        self._port = port
        self.nodes: list[Node] = []
        """Every node that there was."""
        self.connections: list[TcpConnection] = []

    def make_connection(self, node: Node) -> TcpConnection:
        self.nodes.append(node)
        self.connections.append(TcpConnection(node, self._port))
        return self.connections[-1]


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    running = Broker()
    await running.start()
    yield running
    await running.stop()


MakeLayer = Callable[..., TcpLayer]


@pytest.fixture
async def make_layer(broker: Broker) -> AsyncIterator[MakeLayer]:
    """Makes layers on the broker, and checks that closing them leaves nothing behind."""
    layers: list[TcpLayer] = []

    def make(**options: Any) -> TcpLayer:
        layers.append(TcpLayer(broker.port, **options))
        return layers[-1]

    yield make
    async with asyncio.timeout(DEADLINE):
        for layer in layers:
            await layer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def thread_broker() -> Iterator[Broker]:
    """A broker with a thread and a loop of its own, for tests that end loops."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> Broker:
        running = Broker()
        await running.start()
        return running

    running = asyncio.run_coroutine_threadsafe(start(), loop).result(DEADLINE)
    yield running
    stop_background()
    asyncio.run_coroutine_threadsafe(running.stop(), loop).result(DEADLINE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE)
    loop.close()


async def reached(condition: Callable[[], object]) -> None:
    """Return when something has become true that nothing announces."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(0.001)


def message(number: int, **rest: Any) -> Message:
    return {"type": "test.message", "number": number, **rest}


async def take(layer: BrokerChannelLayer, channel: str, count: int) -> list[Message]:
    async with asyncio.timeout(DEADLINE):
        return [await layer.receive(channel) for _ in range(count)]


async def numbers(layer: BrokerChannelLayer, channel: str, count: int) -> list[int]:
    return [received["number"] for received in await take(layer, channel, count)]


async def joined(layer: BrokerChannelLayer, *groups: str) -> str:
    """A new channel that is in these groups."""
    channel = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel
