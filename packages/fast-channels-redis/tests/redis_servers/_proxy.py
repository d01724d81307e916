"""A link to a server that faults can be made on."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Self

from ._process import HOST, free_port

_TIMEOUT: Final = 20
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""To linger for no time makes closing a reset."""


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Clients that refuse a certificate or leave during the handshake are part of tests."""


class _Direction:
    """Passes on what one side of a connection sends, in order and not before it is due."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._due = asyncio.Queue[tuple[float, bytes]]()

    async def receive(self, delay: Callable[[], float]) -> None:
        data = b"-"
        while data:
            try:
                data = await self._reader.read(65536)
            except OSError:
                data = b""
            self._due.put_nowait((asyncio.get_running_loop().time() + delay(), data))

    async def pass_on(self, allowed: asyncio.Event) -> None:
        while True:
            due, data = await self._due.get()
            await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
            await allowed.wait()
            if not data:
                return
            self._writer.write(data)
            await self._writer.drain()


class Proxy:
    """Listens on a port of its own and passes on to a server; in a thread of its own, too.

    With a context it speaks TLS to clients, which makes a TLS server of any server.
    """

    def __init__(self, target: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.host = HOST
        self.port = free_port()
        self.delay = 0.0
        """Seconds by which it is late, in both directions."""
        self.accepted = 0
        """How many connections there have been."""
        self._target = target
        self._tls = tls
        self._tasks = set[asyncio.Task[None]]()
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore)
        self._requests = asyncio.Event()
        self._replies = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._tasks)

    def start(self) -> Self:
        self._thread.start()
        self.heal()
        self.accept()
        return self

    def cut(self) -> None:
        """Reset all connections; new ones are accepted."""
        self._run(self._cut())

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, until :meth:`accept`."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Listen, at the same port as before."""
        self._run(self._accept())

    def blackhole(self, *, requests: bool = True, replies: bool = True) -> None:
        """Accept connections and bytes, but pass nothing on until :meth:`heal`."""
        self._run(self._gate(not requests, not replies))

    def strand(self) -> None:
        """Pass on nothing of the connections that there are, ever; new ones work."""
        self._run(self._strand())

    def heal(self) -> None:
        """Pass on what was held back, as TCP does when a network works again."""
        self._run(self._gate(True, True))

    def close(self) -> None:
        self.refuse()
        self._run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(_TIMEOUT)

    async def _gate(self, requests: bool, replies: bool) -> None:
        for event, is_open in ((self._requests, requests), (self._replies, replies)):
            event.set() if is_open else event.clear()

    async def _strand(self) -> None:
        await self._gate(False, False)
        self._requests, self._replies = asyncio.Event(), asyncio.Event()
        await self._gate(True, True)

    async def _accept(self) -> None:
        assert self._listener is None, "it is listening"
        self._listener = socket.create_server(self.address)
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept_one, self._listener)

    def _accept_one(self, listener: socket.socket) -> None:
        # By itself, because asyncio's server takes some rounds of the loop until anybody knows of
        # a connection, and it would outlive a cut, or the loop.
        try:
            link, _ = listener.accept()
        except OSError:
            return  # it has gone again
        link.setblocking(False)
        self.accepted += 1
        task = self._loop.create_task(self._serve(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also if it was cancelled before it has begun.
        task.add_done_callback(lambda _: link.close())

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _streams(
        self, link: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Those of a server, which matters to TLS."""
        opened: asyncio.Future[asyncio.StreamWriter] = self._loop.create_future()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader, lambda _, writer: opened.set_result(writer))
        await self._loop.connect_accepted_socket(lambda: protocol, link)
        return reader, opened.result()

    async def _serve(self, link: socket.socket) -> None:
        reader, writer = await self._streams(link)
        # Asked now: the transport of a TLS connection that has ended cannot be asked any more.
        links = {writer: writer.get_extra_info("socket")}
        try:
            if self._tls is not None:
                # Here and not by the server, whose handshakes would outlive close().
                await writer.start_tls(self._tls)
            target_reader, target_writer = await asyncio.open_connection(*self._target)
            links[target_writer] = target_writer.get_extra_info("socket")
            await self._pass_on(
                _Direction(reader, target_writer), _Direction(target_reader, writer)
            )
            for each in links:
                each.close()
                await each.wait_closed()
        except (OSError, asyncio.CancelledError):
            for each, plain in links.items():
                if plain.fileno() >= 0:
                    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                each.transport.abort()
            # One that was waited for when this was cancelled is cancelled for good.
            await asyncio.gather(*(each.wait_closed() for each in links), return_exceptions=True)

    async def _pass_on(self, requests: _Direction, replies: _Direction) -> None:
        """Until one side has closed and the other has been told."""
        ends = [
            asyncio.ensure_future(requests.pass_on(self._requests)),
            asyncio.ensure_future(replies.pass_on(self._replies)),
        ]
        pumps = [
            *ends,
            *(
                asyncio.ensure_future(each.receive(lambda: self.delay))
                for each in (requests, replies)
            ),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
