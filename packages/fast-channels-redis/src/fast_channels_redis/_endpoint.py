"""How to get a connection to one Redis server."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import redis.asyncio.cluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from fast_channels.exceptions import ChannelLayerRefused
from fast_channels_redis._packing import pack
from fast_channels_redis._probe import speaks_plainly, speaks_tls, tells_of_no_tls

Reply: TypeAlias = Any
"""What redis-py makes of an answer: bytes, int, None, or lists of these."""

E = TypeVar("E", bound=BaseException)

LOWEST_VERSION = (6, 2)

# redis-py 5 knows the errors of a Cluster only with a parser of its own.
_ClusterParser: Any = getattr(redis.asyncio.cluster, "ClusterParser", None)

_TLS_HASTE: Final = 1.0
"""Seconds for the first TLS handshake, before it is looked whether there is TLS at all."""


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


TryOut: TypeAlias = Callable[[ServerConnection], Awaitable[None]]


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
        if in_cluster and _ClusterParser is not None:
            self._arguments["parser_class"] = _ClusterParser
        self._in_cluster = in_cluster
        self._has_worked = False
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
        return await self.connect(self._inspect)

    async def connect(self, try_out: TryOut | None = None) -> ServerConnection:
        """A connection; :meth:`open` says what it raises. ``try_out``: what to do with it first."""
        patience: float = self._arguments["socket_connect_timeout"]
        if self._class is SSLConnection and not self._has_worked and patience > _TLS_HASTE:
            # Redis may take the beginning of TLS for a command that is not complete.
            try:
                return await self._attempt(try_out, _TLS_HASTE)
            except TimeoutError:
                if await speaks_plainly(*self._address):
                    raise self._without_tls() from None
        return await self._attempt(try_out, patience)

    async def _attempt(self, try_out: TryOut | None, patience: float) -> ServerConnection:
        connection = self._class(**self._arguments)
        try:
            async with asyncio.timeout(patience):
                await connection.connect()
                if try_out is not None:
                    await try_out(connection)
        except BaseException as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, TimeoutError | RedisTimeoutError):
                raise TimeoutError(f"{self.name} does not answer within {patience:g} s") from None
            if isinstance(error, RedisError):
                raise await self._explained_at_first(error) from error
            raise
        self._has_worked = True
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

    def explained(self, error: RedisError) -> OSError:
        """What redis-py raised, in terms of the layer's options."""
        text = str(error) if self.name in str(error) else f"{self.name}: {error}"
        if isinstance(error, AuthenticationError | AuthorizationError):
            return ChannelLayerRefused(f"{text} (check the user name and the password)")
        if isinstance(error, ResponseError):
            return ChannelLayerRefused(f"{text} (the server refused the connection's options)")
        of_tls = _cause(error, ssl.SSLError)
        if isinstance(of_tls, ssl.SSLCertVerificationError):
            return ChannelLayerRefused(
                f"{self.name} has a certificate that is not accepted: {of_tls.verify_message} "
                "(check ssl_ca_certs and the host's name)"
            )
        if of_tls is not None and tells_of_no_tls(of_tls):
            return self._without_tls()
        return ConnectionError(text)

    async def _explained_at_first(self, error: RedisError) -> OSError:
        explained = self.explained(error)
        if (
            self._class is Connection
            and not self._has_worked
            and not isinstance(explained, ChannelLayerRefused)
            and _cause(error, ConnectionRefusedError) is None
            and await speaks_tls(*self._address)
        ):
            return ChannelLayerRefused(
                f"{self.name} expects TLS: connect to it with rediss://, or with ssl=True"
            )
        return explained

    def _without_tls(self) -> OSError:
        return ChannelLayerRefused(
            f"{self.name} does not speak TLS: connect to it with redis://, or without ssl=True"
        )

    @property
    def _address(self) -> tuple[str, int]:
        return self._arguments.get("host", "localhost"), int(self._arguments.get("port", 6379))


def _cause(error: BaseException, kind: type[E]) -> E | None:
    """Why an error was raised, if there is such a reason."""
    reason: BaseException | None = error
    while reason is not None and not isinstance(reason, kind):
        reason = reason.__cause__ or reason.__context__
    return reason


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
