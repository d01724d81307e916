"""The connection that listens: to Redis channels, many in one command."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import groupby, islice
from typing import Final, Literal, NamedTuple, TypeAlias

from redis.exceptions import AskError, ClusterDownError, NoPermissionError, ResponseError

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._endpoint import Endpoint, ServerConnection
from fast_channels_redis._keeper import (
    MOST_AT_ONCE,
    Incidents,
    KeptConnection,
    until_one_ends,
)
from fast_channels_redis._packing import pack
from fast_channels_redis._topology import slot_of

MOST_NAMES: Final = 512
"""As many names go into one command."""

_Verb: TypeAlias = Literal[b"subscribe", b"unsubscribe"]


class _Wish(NamedTuple):
    verb: _Verb
    name: bytes
    confirmed: asyncio.Future[None]


class Subscriber(KeptConnection):
    """Subscribes and unsubscribes with confirmation, and subscribes all anew after a break.

    ``sharded``: with the commands of sharded pub/sub, for a node of a Redis Cluster.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        patience: float,
        incidents: Incidents,
        *,
        names: Callable[[], Iterable[bytes]],
        deliver: Callable[[bytes, bytes], None],
        returned: Callable[[], None],
        dropped: Callable[[bytes], None] | None = None,
        sharded: bool = False,
    ) -> None:
        """``names``: what to subscribe on a new connection. ``deliver``: is given the name and
        the data of each message. ``returned``: called when a broken connection was replaced.
        ``dropped``: called with a name that the server took away by itself."""
        super().__init__(endpoint, patience, incidents)
        self._names = names
        self._deliver = deliver
        self._returned = returned
        self._dropped = dropped
        self._letter = b"s" if sharded else b""
        self._wishes: list[_Wish] = []
        self._unconfirmed: deque[_Wish] = deque()
        self._batches: deque[int] = deque()
        self._has_wishes = asyncio.Event()
        self._returns = False

    async def subscribe(self, name: bytes) -> None:
        """Return when the server has confirmed it; :class:`OSError` if the connection breaks."""
        await self._wish(b"subscribe", name)

    async def unsubscribe(self, name: bytes) -> None:
        await self._wish(b"unsubscribe", name)

    async def serve(self, connection: ServerConnection) -> None:
        await until_one_ends(
            self._read(connection),
            self._write(connection),
            self._restore(),
            self._watch(connection),
        )

    def broke(self, error: Exception) -> None:
        self._returns = True
        for wish in (*self._unconfirmed, *self._wishes):
            if not wish.confirmed.done():
                wish.confirmed.set_exception(
                    ConnectionError(f"the connection to {self.endpoint.name} broke: {error}")
                )
                wish.confirmed.exception()  # Whoever waited may be gone.
        self._unconfirmed.clear()
        self._batches.clear()
        self._wishes.clear()

    def ended(self) -> None:
        self.broke(ConnectionError("it was closed"))

    def _wish(self, verb: _Verb, name: bytes) -> asyncio.Future[None]:
        confirmed = asyncio.get_running_loop().create_future()
        self._wishes.append(_Wish(verb, name, confirmed))
        self._has_wishes.set()
        return confirmed

    async def _restore(self) -> None:
        names = dict.fromkeys(self._names())
        wishes = [self._wish(b"subscribe", name) for name in names]
        if wishes:
            await asyncio.gather(*wishes)
        self.is_ready()
        if self._returns:
            self._returns = False
            self._returned()
        await asyncio.Event().wait()  # Ending means that the connection ends.

    async def _write(self, connection: ServerConnection) -> None:
        while True:
            await self._has_wishes.wait()
            self._has_wishes.clear()
            await connection.send_packed_command(self._take_commands(), check_health=False)

    def _take_commands(self) -> list[bytes]:
        wishes, self._wishes = self._wishes, []
        commands: list[bytes] = []
        for (verb, _), group in groupby(wishes, key=self._command_of):
            while batch := list(islice(group, MOST_NAMES)):
                self._unconfirmed.extend(batch)
                self._batches.append(len(batch))
                names = [wish.name for wish in batch]
                commands.append(pack((self._letter + verb, *names)))
        return commands

    def _command_of(self, wish: _Wish) -> tuple[_Verb, int]:
        """Wishes for which this is equal may go in one command."""
        return wish.verb, slot_of(wish.name) if self._letter else 0

    async def _read(self, connection: ServerConnection) -> None:
        read, deliver = connection.read_response, self._deliver
        message = self._letter + b"message"
        loop = asyncio.get_running_loop()
        delivered = 0
        while True:
            try:
                reply: list[bytes] | bytes = await read(push_request=True)
            except ResponseError as error:
                self._refused(error)
                continue
            self._heard = loop.time()
            if isinstance(reply, list) and reply[0] == message:
                deliver(reply[1], reply[2])
                delivered += 1
                if not delivered % MOST_AT_ONCE:
                    await asyncio.sleep(0)
            else:
                self._confirmed(reply)

    def _confirmed(self, reply: list[bytes] | bytes) -> None:
        if not isinstance(reply, list) or reply[0] == b"pong":
            return
        verb, name = reply[0].removeprefix(self._letter), reply[1]
        waiting = self._unconfirmed
        if waiting and waiting[0].verb == verb and waiting[0].name == name:
            wish = waiting.popleft()
            self._batches[0] -= 1
            if not self._batches[0]:
                self._batches.popleft()
            if not wish.confirmed.done():
                wish.confirmed.set_result(None)
        elif verb == b"unsubscribe" and self._dropped is not None:
            self._dropped(name)

    def _refused(self, error: ResponseError) -> None:
        """One error stands for all names of a command."""
        if not self._batches:
            raise error
        for _ in range(self._batches.popleft()):
            confirmed = self._unconfirmed.popleft().confirmed
            if not confirmed.done():
                confirmed.set_exception(self._explained(error))
                confirmed.exception()  # Whoever waited may be gone.

    async def _watch(self, connection: ServerConnection) -> None:
        """Ask for a sign of life when nothing was heard for a while."""
        is_asked = False
        while True:
            heard = self._heard
            await asyncio.sleep(self.patience / 2)
            if self._heard != heard:
                is_asked = False
            elif is_asked:
                raise TimeoutError(f"no answer for {self.patience / 2:g} s")
            else:
                is_asked = True
                await connection.send_packed_command([pack(("PING",))], check_health=False)

    def _explained(self, error: ResponseError) -> Exception:
        text = f"{self.endpoint.name}: {error}"
        if isinstance(error, NoPermissionError):
            return ChannelLayerRefused(text)
        if isinstance(error, AskError | ClusterDownError):
            return error  # For whoever knows the Cluster.
        if self._letter and "unknown command" in str(error).lower():
            return ChannelLayerRefused(
                f"{text}: on a Cluster the pub/sub layer needs Redis 7 or later, or Valkey"
            )
        return OSError(text)
