"""How to get a connection to one Redis server, or to the primary that Sentinel names."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._packing import pack

Reply: TypeAlias = Any
"""What redis-py makes of an answer: bytes, int, None, or lists of these."""

LOWEST_VERSION = (6, 2)

_LOOK_AGAIN: Final = 5
"""Seconds between looks whether Sentinel still names the same primary."""


class ServerConnection(Protocol):
    """What is used of redis-py's connections, which are typed in part only.

    Those to Unix sockets have no host and port.
    """

    host: str
    port: int

    @property
    def is_connected(self) -> bool: ...
    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool = ...) -> None: ...
    async def send_packed_command(
        self, command: bytes | list[bytes], check_health: bool = ...
    ) -> None: ...
    async def read_response(self, *, push_request: bool = ...) -> Reply: ...


class Endpoint(ABC):
    """A place to connect to."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call it; without secrets."""

    @abstractmethod
    async def open(self) -> ServerConnection:
        """A connection that was tried out.

        Raises :class:`OSError` when there is none, :class:`ChannelLayerRefused` when there never
        will be one.
        """

    def heed(self, error: Exception) -> None:  # noqa: B027  # nothing to do for most
        """Why a connection was not made, or ended: the next one may have to go elsewhere."""

    async def moved(self, connection: ServerConnection) -> None:
        """Return when a connection should be given up although it works."""
        await asyncio.Event().wait()


class Server(Endpoint):
    """A server at a fixed address."""

    def __init__(
        self,
        connection_class: Callable[..., ServerConnection],
        given: Mapping[str, Any],
        *,
        in_cluster: bool = False,
    ) -> None:
        """``connection_class``: one of redis-py's. ``given``: its arguments."""
        self._class = connection_class
        self._arguments: dict[str, Any] = {
            # redis-py reads what is published at half the cost with it.
            "protocol": 2,
            **given,
            # Deadlines for replies are ours: a blocking read has another than a command.
            "socket_timeout": None,
            "socket_connect_timeout": given.get("socket_connect_timeout") or 5,
            "health_check_interval": 0,
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": False,
        }
        self._in_cluster = in_cluster
        self._class(**self._arguments)  # A wrong argument is a TypeError, now.

    @property
    def name(self) -> str:
        arguments = self._arguments
        return str(
            arguments.get("path")
            or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"
        )

    @property
    def address(self) -> tuple[str, int]:
        arguments = self._arguments
        return str(arguments.get("host", "localhost")), int(arguments.get("port", 6379))

    def at(self, host: str, port: int) -> "Server":
        """The same, at another address."""
        arguments = {**self._arguments, "host": host, "port": port}
        arguments.pop("path", None)
        return Server(self._class, arguments, in_cluster=self._in_cluster)

    async def open(self) -> ServerConnection:
        connection = self._class(**self._arguments)
        try:
            await connection.connect()
            await self._inspect(connection)
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, RedisError):
                raise self._explained(error) from error
            raise
        return connection

    async def _inspect(self, connection: ServerConnection) -> None:
        """Find out early what would fail later in ways that are hard to understand."""
        await connection.send_packed_command([pack(("INFO", "server")), pack(("ROLE",))])
        facts = parse_info(await _permitted(connection))
        role = await _permitted(connection)
        mode = facts.get("redis_mode") or facts.get("server_mode")
        if mode == "sentinel":
            raise ChannelLayerRefused(
                f"{self.name} is a Sentinel, not a Redis server: pass "
                "sentinels=[(host, port)] and service_name=… instead of hosts"
            )
        version = facts.get("redis_version")
        if version and tuple(map(int, version.split(".")[:2])) < LOWEST_VERSION:
            raise ChannelLayerRefused(
                f"{self.name} is Redis {version}; the layer needs Redis 6.2 or later, or Valkey"
            )
        if (mode == "cluster") is not self._in_cluster and mode:
            raise ChannelLayerRefused(
                f"{self.name} {'is not' if self._in_cluster else 'is'} part of a Redis Cluster: "
                + (
                    "connect to it with redis:// and without cluster=True"
                    if self._in_cluster
                    else "pass cluster=True, or a URL with redis+cluster://"
                )
            )
        if role and role[0] != b"master" and not self._in_cluster:
            # For a moment only, while a failover goes on.
            raise ConnectionError(f"{self.name} is a replica, which takes no writes")

    def _explained(self, error: RedisError) -> OSError:
        text = f"{self.name}: {error}"
        if isinstance(error, AuthenticationError | AuthorizationError):
            return ChannelLayerRefused(f"{text} (check the user name and the password)")
        if isinstance(error, ResponseError):
            return ChannelLayerRefused(f"{text} (the server refused the connection's options)")
        return ConnectionError(text)


async def _permitted(connection: ServerConnection) -> Reply:
    """A reply, or None if the user may not ask."""
    try:
        return await connection.read_response()
    except ResponseError:
        return None


def parse_info(text: bytes | None) -> dict[str, str]:
    """The facts in a reply to ``INFO``."""
    lines = (text or b"").decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


class SentinelService(Endpoint):
    """The primary of a service, as Sentinel tells it for every connection anew."""

    def __init__(
        self,
        sentinels: Sequence[tuple[str, int]],
        service_name: str,
        sentinel_kwargs: Mapping[str, Any] | None,
        server: Server,
    ) -> None:
        self._sentinels = list(sentinels)
        self._service_name = service_name
        self._server = server
        self._options: dict[str, Any] = {
            # A Sentinel that is down must not keep those from being asked that are up.
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
            "retry": Retry(NoBackoff(), 0),
            **(sentinel_kwargs or {}),
        }
        self._last_known = ""

    @property
    def name(self) -> str:
        return f"service {self._service_name!r}{self._last_known}"

    async def open(self) -> ServerConnection:
        host, port = await self._find_primary()
        self._last_known = f" at {host}:{port}"
        return await self._server.at(host, port).open()

    async def moved(self, connection: ServerConnection) -> None:
        # A primary that the Sentinels cannot reach does not know that it was replaced.
        mine = connection.host, connection.port
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            try:
                if await self._find_primary() != mine:
                    return
            except OSError:
                pass  # Better an old primary than none.

    async def _find_primary(self) -> tuple[str, int]:
        sentinel = Sentinel(self._sentinels, sentinel_kwargs=self._options)  # type: ignore[no-untyped-call, unused-ignore]  # in some releases of redis-py
        try:
            return cast(tuple[str, int], await sentinel.discover_master(self._service_name))
        except MasterNotFoundError as error:
            raise await self._explained(sentinel, error) from error
        except RedisError as error:
            raise ConnectionError(f"Sentinel at {self._addresses}: {error}") from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    async def _explained(self, sentinel: Sentinel, error: MasterNotFoundError) -> OSError:
        """Tell an unknown service from one whose primary is down, and from no Sentinel at all."""
        known: set[str] = set()
        failures: list[str] = []
        for client in sentinel.sentinels:
            try:
                known.update(map(str, await client.sentinel_masters()))
            except AuthenticationError as failure:
                return ChannelLayerRefused(
                    f"Sentinel at {self._addresses}: {failure} (check sentinel_kwargs)"
                )
            except (RedisError, OSError) as failure:
                failures.append(str(failure))
        if self._service_name in known:
            return ConnectionError(f"no primary for {self._service_name!r} at present: {error}")
        if len(failures) == len(self._sentinels):
            if all("unknown command" in failure.lower() for failure in failures):
                return ChannelLayerRefused(
                    f"{self._addresses} is not a Sentinel: pass its address in hosts instead"
                )
            return ConnectionError(f"no Sentinel at {self._addresses} answers: {failures[0]}")
        return ChannelLayerRefused(
            f"Sentinel at {self._addresses} knows no service {self._service_name!r}, "
            f"it knows {', '.join(map(repr, sorted(known))) or 'none'}: check service_name"
        )

    @property
    def _addresses(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self._sentinels)
