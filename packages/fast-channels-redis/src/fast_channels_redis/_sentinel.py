"""The primary of a service, as Sentinel tells it."""

import asyncio
from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from redis.exceptions import RedisError, ResponseError

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._endpoint import Endpoint, Reply, Server, ServerConnection
from fast_channels_redis._packing import pack

_PATIENCE: Final = 1.0
"""Seconds for one Sentinel: one that is down must not keep those from being asked that are up."""
_PATIENCE_WITH_PRIMARY: Final = 2.0
"""Seconds to connect to a primary, before Sentinel is asked whether it still is the one."""
_LOOK_AGAIN: Final = 0.5

Address = tuple[str, int]


class SentinelService(Endpoint):
    """Connects to the primary that Sentinel names, and leaves one that it names no more."""

    def __init__(self, sentinels: Sequence[Server], service_name: str, server: Server) -> None:
        """``server``: how to connect to the primary, but for its address."""
        self._sentinels = list(sentinels)
        self._service_name = service_name
        self._server = server
        self._last_known = ""
        self._watches = WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch]()

    @property
    def name(self) -> str:
        return f"service {self._service_name!r}{self._last_known}"

    async def open(self) -> ServerConnection:
        connection, (host, port) = await self.ask()
        await connection.close()
        self._last_known = f" at {host}:{port}"
        try:
            async with asyncio.timeout(_PATIENCE_WITH_PRIMARY):
                return await self._server.at(host, port).open()
        except TimeoutError:
            raise TimeoutError(f"{self.name} does not answer") from None

    async def moved(self, connection: ServerConnection) -> None:
        # A primary that the Sentinels cannot reach, or that they replaced on command, does not
        # know for a while that it is none any more.
        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = _Watch(self)
        await watch.until_other_than((connection.host, connection.port))

    async def ask(self) -> tuple["SentinelConnection", Address]:
        """The first Sentinel that knows the service, and what it says.

        Raises :class:`ChannelLayerRefused` if they all answer and none does.
        """
        failures: list[OSError] = []
        for sentinel in tuple(self._sentinels):
            connection = SentinelConnection(sentinel, self._service_name)
            try:
                address = await connection.open()
            except OSError as error:
                failures.append(error)
                continue
            # The next one who asks begins with this one.
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return connection, address
        refusals = [each for each in failures if isinstance(each, ChannelLayerRefused)]
        if len(refusals) == len(failures):
            raise refusals[0]
        away = next(each for each in failures if not isinstance(each, ChannelLayerRefused))
        names = ", ".join(sentinel.name for sentinel in self._sentinels)
        raise ConnectionError(f"no Sentinel of {names} could tell the primary: {away}")


class SentinelConnection:
    """A connection to one Sentinel, which can be asked again and again."""

    def __init__(self, sentinel: Server, service_name: str) -> None:
        self._sentinel = sentinel
        self._service_name = service_name
        self._connection: ServerConnection | None = None

    async def open(self) -> Address:
        """Connect and ask; :class:`ChannelLayerRefused` if it never will know the service."""
        try:
            try:
                async with asyncio.timeout(_PATIENCE):
                    self._connection = await self._sentinel.connect()
            except ChannelLayerRefused as error:
                raise _refused(error) from error
            return await self.ask()
        except TimeoutError:
            await self.close()
            raise TimeoutError(f"{self._sentinel.name} does not answer") from None
        except BaseException:
            await self.close()
            raise

    async def ask(self) -> Address:
        try:
            reply = await self._call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service_name)
            if reply is None:
                raise await self._unknown()
        except ResponseError as error:
            if "unknown command" in str(error).lower():
                raise ChannelLayerRefused(
                    f"{self._sentinel.name} is not a Sentinel: pass its address in hosts instead"
                ) from error
            raise self._explained(error) from error
        except RedisError as error:
            raise self._explained(error) from error
        host, port = reply
        return host.decode(), int(port)

    def _explained(self, error: RedisError) -> OSError:
        explained = self._sentinel.explained(error)
        # Older servers let anyone in, and refuse the first command.
        return _refused(explained) if isinstance(explained, ChannelLayerRefused) else explained

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _unknown(self) -> OSError:
        masters: list[Reply] = await self._call("SENTINEL", "MASTERS")
        known = [each[each.index(b"name") + 1].decode() for each in masters]
        return ChannelLayerRefused(
            f"the Sentinel at {self._sentinel.name} knows no service {self._service_name!r}, "
            f"it knows {', '.join(map(repr, sorted(known))) or 'none'}: check service_name"
        )

    async def _call(self, *command: str) -> Reply:
        connection = self._connection
        if connection is None:
            raise ConnectionError("the connection to Sentinel was closed")
        async with asyncio.timeout(_PATIENCE):
            await connection.send_packed_command([pack(command)], check_health=False)
            return await connection.read_response()


def _refused(error: ChannelLayerRefused) -> ChannelLayerRefused:
    return ChannelLayerRefused(f"{error}: check sentinel_kwargs")


class _Watch:
    """Asks one Sentinel again and again, for all connections of an event loop."""

    def __init__(self, service: SentinelService) -> None:
        self._service = service
        self._users = 0
        self._task: asyncio.Task[None] | None = None
        self._primary: Address | None = None
        self._looked = asyncio.Event()

    async def until_other_than(self, mine: Address) -> None:
        self._users += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())
        try:
            while True:
                await self._looked.wait()
                if self._primary not in (None, mine):
                    return
        finally:
            self._users -= 1
            if not self._users:
                task, self._task = self._task, None
                task.cancel()
                await asyncio.wait([task])

    async def _look(self) -> None:
        while True:
            connection: SentinelConnection | None = None
            try:
                connection, _ = await self._service.ask()
                while True:
                    await asyncio.sleep(_LOOK_AGAIN)
                    self._tell(await connection.ask())
            except OSError:
                pass  # Better an old primary than none.
            finally:
                if connection is not None:
                    await connection.close()
            await asyncio.sleep(_LOOK_AGAIN)

    def _tell(self, primary: Address) -> None:
        self._primary = primary
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()
