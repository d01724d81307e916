"""The connection for commands: what many callers send at once goes out in one write."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from fast_channels.exceptions import ChannelLayerRefused, ChannelLayerUnavailable
from fast_channels_redis._endpoint import Endpoint, Reply, ServerConnection
from fast_channels_redis._keeper import Incidents, KeptConnection, until_one_ends
from fast_channels_redis._packing import Argument, pack
from fast_channels_redis._scripts import Script

MOST_CALLS: Final = 8192
"""As many commands may be under way; who calls then waits."""
_MOST_BYTES: Final = 8 * 1024 * 1024

_Call: TypeAlias = tuple[asyncio.Future[Reply], bytes, bool]
"""Who waits for the reply, the packed command, whether it may be sent again."""


class NotConnected(ConnectionError):
    """Nothing was sent, or what was sent may be sent again, to whoever takes the server's place."""


Preparation: TypeAlias = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """Commands and replies on a connection that nobody else uses yet."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    @property
    def server(self) -> tuple[str, int] | None:
        """Its address; None for a Unix socket."""
        connection = self._connection
        return (connection.host, connection.port) if hasattr(connection, "host") else None

    async def run(self, *commands: Sequence[Argument]) -> list[Reply]:
        """Their replies, an error among them as a value."""
        await self._connection.send_packed_command([pack(tuple(each)) for each in commands])
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


class Commands(KeptConnection):
    """Replies come in the order of the commands, so a queue of waiting callers is all it takes.

    A caller that is cancelled leaves its place in the queue, and nobody else gets its reply.
    While the connection is broken, calls wait for the next one; they are sent again in their
    first order, before any new one, and after ``prepare`` has set up the connection.
    """

    keeps_calls = True
    """Whether calls wait for the next connection; else they end with :class:`NotConnected`."""

    def __init__(
        self,
        endpoint: Endpoint,
        patience: float,
        incidents: Incidents,
        prepare: Preparation | None = None,
    ) -> None:
        super().__init__(endpoint, patience, incidents)
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._calls: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._unsent_calls = 0
        self._bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._writer: asyncio.Future[None] | None = None
        self._takes_calls = False

    async def call(self, *command: Argument, again: bool = True, asking: bool = False) -> Reply:
        """Send a command and return the reply.

        ``again``: after a break before the reply the command is sent once more; without it,
        :class:`ChannelLayerUnavailable` says that it may have been carried out. An error that
        the server replies is an :class:`OSError`. ``asking``: see ``ASKING`` of Redis Cluster.
        """
        if not self._has_room.is_set():
            await self._has_room.wait()
        if asking:
            self._submit((b"ASKING",), True).add_done_callback(_forget)
        future = self._submit(command, again)
        try:
            return await future
        except asyncio.CancelledError:
            _forget(future)
            raise
        except (NoScriptError, MovedError, AskError, ClusterDownError, TryAgainError):
            raise
        except NoPermissionError as error:
            raise ChannelLayerRefused(f"{self.endpoint.name}: {error}") from error
        except ResponseError as error:
            raise OSError(f"{self.endpoint.name}: {error}") from error

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: Argument,
        again: bool = True,
        asking: bool = False,
    ) -> Reply:
        """Run a script; see :meth:`call`."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.call(b"EVALSHA", script.sha, *rest, again=again, asking=asking)
        except NoScriptError:
            return await self.call(b"EVAL", script.text, *rest, again=again, asking=asking)

    async def serve(self, connection: ServerConnection) -> None:
        if self._prepare is not None:
            async with asyncio.timeout(self.patience):
                await self._prepare(Exchange(connection))
        self._takes_calls = True
        self._unsent = [packed for _, packed, _ in self._calls]
        self._unsent_calls = len(self._calls)
        self.is_ready()
        await until_one_ends(self._read(connection), self._write(connection), self._watch())

    def broke(self, error: Exception) -> None:
        self._takes_calls = self._takes_calls and self.keeps_calls
        in_flight = len(self._calls) - self._unsent_calls
        kept: deque[_Call] = deque()
        for index, call in enumerate(self._calls):
            future, _, again = call
            if future.done():
                continue
            if again or index >= in_flight:
                if self.keeps_calls:
                    kept.append(call)
                else:
                    future.set_exception(NotConnected(f"{self.endpoint.name}: {error}"))
            else:
                future.set_exception(
                    ChannelLayerUnavailable(
                        f"the connection to {self.endpoint.name} broke before the answer: the "
                        f"message may have been delivered, or not ({error})"
                    )
                )
        self._calls = kept
        self._unsent, self._unsent_calls = [], len(kept)
        self._bytes = sum(len(packed) for _, packed, _ in kept)
        self._look_for_room()

    def ended(self) -> None:
        self._takes_calls = False
        for future, _, _ in self._calls:
            if not future.done():
                future.set_exception(ConnectionError("the connection was closed"))
                _forget(future)
        self._calls.clear()
        self._unsent, self._unsent_calls, self._bytes = [], 0, 0
        self._has_room.set()

    def _submit(self, command: tuple[Argument, ...], again: bool) -> asyncio.Future[Reply]:
        if not self._takes_calls:
            raise NotConnected(f"not connected to {self.endpoint.name}")
        packed = pack(command)
        future: asyncio.Future[Reply] = self._loop.create_future()
        calls = self._calls
        if not calls:
            self.heard()  # Silence counts from here.
        calls.append((future, packed, again))
        self._unsent.append(packed)
        self._unsent_calls += 1
        self._bytes += len(packed)
        if len(calls) >= MOST_CALLS or self._bytes >= _MOST_BYTES:
            self._has_room.clear()
        writer = self._writer
        if writer is not None:
            self._writer = None
            if not writer.done():
                writer.set_result(None)
        return future

    async def _write(self, connection: ServerConnection) -> None:
        while True:
            if not self._unsent:
                self._writer = self._loop.create_future()
                await self._writer
            unsent, self._unsent = self._unsent, []
            self._unsent_calls = 0
            if not connection.is_connected:
                return  # redis-py would connect again by itself, and replies would shift.
            await connection.send_packed_command(unsent, check_health=False)

    async def _read(self, connection: ServerConnection) -> None:
        calls, read = self._calls, connection.read_response
        while True:
            error: Exception | None = None
            reply: Reply = None
            try:
                reply = await read()
            except ResponseError as raised:
                error = raised
            self._heard = self._loop.time()
            future, packed, _ = calls.popleft()
            if isinstance(error, ReadOnlyError):
                # The primary was demoted. Nothing was done, so it may be sent to the next one.
                calls.appendleft((future, packed, True))
                raise ConnectionError(str(error))
            self._bytes -= len(packed)
            if not self._has_room.is_set():
                self._look_for_room()
            if future.done():
                continue
            if error is None:
                future.set_result(reply)
            else:
                future.set_exception(error)

    async def _watch(self) -> None:
        """Ask an idle server for a sign of life, and give up a silent one."""
        while True:
            await asyncio.sleep(self.patience / 2)
            if self._calls:
                self.require_answer()
            else:
                self._submit((b"PING",), True).add_done_callback(_forget)

    def _look_for_room(self) -> None:
        if len(self._calls) < MOST_CALLS and self._bytes < _MOST_BYTES:
            self._has_room.set()


def _forget(future: asyncio.Future[Reply]) -> None:
    """Nobody asks for the outcome any more, so that asyncio need not complain."""
    if future.done() and not future.cancelled():
        future.exception()
