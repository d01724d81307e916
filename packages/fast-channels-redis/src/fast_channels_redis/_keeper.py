"""A connection that is made anew whenever it breaks."""

import asyncio
import logging
import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final

from redis.exceptions import AskError, ClusterDownError, NoPermissionError, RedisError

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._endpoint import Endpoint, ServerConnection

logger = logging.getLogger("fast_channels_redis")

FIRST_RETRY: Final = 0.01
LAST_RETRY: Final = 0.25
"""Seconds between attempts to connect, doubling."""

MOST_AT_ONCE: Final = 32
"""Messages after which those who get them have their turn. What has arrived is delivered without
waiting, and channels that hold more than this must not fill up meanwhile."""

_OF_OTHERS: Final = AskError, ClusterDownError
"""What a node of a Cluster replies that is well itself: others are in charge, or are away."""

_AT_ONCE: Final = struct.pack("ii", 1, 0)
_FAREWELL: Final = 1
"""Seconds for saying goodbye to a server that may be gone."""


class Incidents:
    """Which connections of a node are broken, so that one outage is told once."""

    def __init__(self, on_disconnect: Callable[[], None], on_reconnect: Callable[[], None]) -> None:
        self._on_disconnect = on_disconnect
        self._on_reconnect = on_reconnect
        self._broken: set[KeptConnection] = set()
        self._tells = False

    def open(self) -> None:
        """From now on tell of them."""
        self._tells = True

    def close(self) -> None:
        """The node closes all its connections, which is not worth telling."""
        self._tells = False

    def add(self, connection: "KeptConnection") -> None:
        self._broken.add(connection)
        if len(self._broken) == 1 and self._tells:
            self._on_disconnect()

    def end(self, connection: "KeptConnection") -> None:
        """It is back, or was closed on purpose."""
        if connection in self._broken:
            self._broken.discard(connection)
            if not self._broken and self._tells:
                self._on_reconnect()


class KeptConnection(ABC):
    """Keeps one connection to an endpoint; a subclass says what it is used for.

    The task that serves it ends only with :meth:`close`, whatever happens on the connection.
    """

    def __init__(self, endpoint: Endpoint, patience: float, incidents: Incidents) -> None:
        """``patience``: seconds without an answer after which a connection is given up."""
        self.endpoint: Endpoint = endpoint
        self.patience: float = patience
        self._incidents = incidents
        self._keeper: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._serves = False
        self._is_broken = False
        self._heard = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether a connection was lost and the next one does not serve yet."""
        return self._is_broken

    async def start(self) -> None:
        """Return when it serves; raises :class:`OSError` if the first connection fails."""
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        self._keep_on(self._first)
        try:
            await self._first
        except BaseException:
            await self.close()
            raise

    def start_soon(self) -> None:
        """Connect in the background, for as long as it takes."""
        loop = asyncio.get_running_loop()
        self._first = loop.create_future()
        self._first.set_result(None)
        self._keep_on(self._first)

    def replaced(self) -> None:
        """Another connection does its work: if it is broken, that concerns nobody any more."""
        if self._is_broken:
            self._is_broken = False
            self._incidents.end(self)

    def _keep_on(self, first: asyncio.Future[None]) -> None:
        self._keeper = first.get_loop().create_task(self._keep(first))
        # Also when not close() ends it, but a loop that cancels all its tasks in the end.
        self._keeper.add_done_callback(lambda _: self.ended())

    async def close(self) -> None:
        """Stop for good. Never raises; may be called again."""
        self._incidents.end(self)
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    @abstractmethod
    async def serve(self, connection: ServerConnection) -> None:
        """Use a new connection until it breaks; say :meth:`is_ready` once it can be used."""

    @abstractmethod
    def broke(self, error: Exception) -> None:
        """The connection is gone, and the next one not made yet."""

    @abstractmethod
    def ended(self) -> None:
        """There will be no other connection."""

    def is_ready(self) -> None:
        """The connection serves."""
        self._serves = True
        if self._is_broken:
            self._is_broken = False
            logger.info("the connection to %s is back", self.endpoint.name)
            self._incidents.end(self)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def heard(self) -> None:
        """The server has answered."""
        self._heard = asyncio.get_running_loop().time()

    def require_answer(self) -> None:
        """Raises :class:`TimeoutError` if the server has been silent for too long."""
        silence = asyncio.get_running_loop().time() - self._heard
        if silence >= self.patience:
            raise TimeoutError(f"no answer for {silence:.1f} s")

    async def _keep(self, first: asyncio.Future[None]) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                await self._open_and_serve()
            except Exception as error:
                reason = error
            else:
                reason = ConnectionError("the connection ended")
            self.endpoint.heed(reason)
            if not first.done():
                first.set_exception(_as_os_error(self.endpoint, reason))
                return
            if self._serves and not isinstance(reason, ClusterDownError):
                pause = FIRST_RETRY
            self._lost(reason)
            await asyncio.sleep(jittered(pause))
            pause = min(pause * 2, LAST_RETRY)

    async def _open_and_serve(self) -> None:
        async with asyncio.timeout(self.patience):
            connection = await self.endpoint.open()
        writer = _writer_of(connection)
        try:
            self.heard()
            await until_one_ends(self.serve(connection), self._until_moved(connection))
        finally:
            await part_with(connection, writer)

    async def _until_moved(self, connection: ServerConnection) -> None:
        await self.endpoint.moved(connection)
        raise ConnectionError("another server has taken over")

    def _lost(self, error: Exception) -> None:
        self._serves = False
        if not self._is_broken and not isinstance(error, _OF_OTHERS):
            self._is_broken = True
            is_expected = isinstance(error, OSError | RedisError)
            logger.warning(
                "the connection to %s broke, trying again: %s",
                self.endpoint.name,
                str(error) or type(error).__name__,
                exc_info=None if is_expected else error,
            )
            self._incidents.add(self)
        self.broke(error)


def jittered(pause: float) -> float:
    """Somewhat less, so that many who wait do not all come back at once."""
    return pause * random.uniform(0.5, 1)  # noqa: S311  # nothing secret about it


async def until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until one of them ends, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _writer_of(connection: ServerConnection) -> asyncio.StreamWriter | None:
    return getattr(connection, "_writer", None)


async def part_with(
    connection: ServerConnection, writer: asyncio.StreamWriter | None = None
) -> None:
    """Close it, also if its server is gone. Does not raise.

    ``writer``: the connection's, which forgets it when a call on it is cancelled.
    """
    writer = writer or _writer_of(connection)
    try:
        if writer is not None:
            # Not close(): that waits until a server, which may be frozen, has read it all. Nor may
            # the system send the rest later, behind what goes out on the next connection.
            try:
                link = writer.get_extra_info("socket")
                if link is not None:
                    link.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
            except (AttributeError, ValueError):
                pass  # What TLS that was closed twice, and uvloop, have to say of a closed socket.
            finally:
                writer.transport.abort()
            async with asyncio.timeout(_FAREWELL):
                await writer.wait_closed()
    except OSError:
        pass  # It is gone already.
    finally:
        try:
            await connection.disconnect(nowait=True)
        except (OSError, RedisError):
            pass


def _as_os_error(endpoint: Endpoint, error: Exception) -> Exception:
    if isinstance(error, TimeoutError) and not str(error):
        return TimeoutError(f"{endpoint.name} does not answer")
    if isinstance(error, NoPermissionError):
        return ChannelLayerRefused(f"{endpoint.name}: {error}")
    if isinstance(error, RedisError):
        return ConnectionError(f"{endpoint.name}: {error}")
    return error
