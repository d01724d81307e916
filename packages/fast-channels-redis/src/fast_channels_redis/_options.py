"""From the options that a layer is given to the endpoints that it connects to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from redis.asyncio.connection import (
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from fast_channels_redis._endpoint import Endpoint, Server, ServerConnection
from fast_channels_redis._sentinel import SentinelService

Host: TypeAlias = str | tuple[str, int] | Mapping[str, Any]
"""A URL, a host and a port, or the arguments of redis-py's connection, which may have
``address`` (a URL), or ``sentinels`` and ``master_name``."""

DEFAULT_HOST = "redis://localhost:6379"

DEFAULT_CONNECT_TIMEOUT = 4
"""Seconds; less than the default of ``send_timeout``, which then can say what is wrong."""

_CLUSTER = "redis+cluster://", "rediss+cluster://"
_OF_POOLS = "max_connections", "timeout", "connection_class"
"""Arguments of redis-py's pools and clients that other layers take, and that mean nothing here."""


class ClusterSeeds:
    """Some of the servers of a Redis Cluster, by which the others are found."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers


def parse_hosts(
    hosts: Iterable[Host] | None,
    *,
    sentinels: Sequence[tuple[str, int]] | None,
    service_name: str | None,
    sentinel_kwargs: Mapping[str, Any] | None,
    connection_kwargs: Mapping[str, Any] | None,
    cluster: bool,
    connect_timeout: float = DEFAULT_CONNECT_TIMEOUT,
) -> list[Endpoint] | ClusterSeeds:
    """Raises :class:`ValueError` or :class:`TypeError` with one sentence for what is wrong.

    ``connect_timeout``: seconds for making a connection, unless the options say otherwise.
    """
    common = {"socket_connect_timeout": connect_timeout, **(connection_kwargs or {})}
    if (sentinels is None) != (service_name is None):
        raise ValueError("sentinels and service_name go together: pass both or neither")
    if sentinels is not None and service_name is not None:
        if hosts is not None or cluster:
            raise ValueError("pass either sentinels or hosts: Sentinel tells where the server is")
        return [_service(sentinels, service_name, sentinel_kwargs, common)]
    if sentinel_kwargs is not None:
        raise ValueError("sentinel_kwargs needs sentinels and service_name")
    if isinstance(hosts, str | bytes | Mapping):
        # Not what it is: a URL may have a password in it.
        kind = type(hosts).__name__  # pyright: ignore[reportUnknownArgumentType]  # of any mapping
        raise ValueError(f"hosts is a single {kind}, expected a list: put it in brackets")
    entries = list(hosts) if hosts is not None else [DEFAULT_HOST]
    if not entries:
        raise ValueError("hosts is empty, expected a list with one host or more")
    cluster = cluster or any(_is_cluster_url(entry) for entry in entries)
    if not cluster:
        return [_endpoint(entry, common) for entry in entries]
    servers = [_endpoint(entry, common, in_cluster=True) for entry in entries]
    if not all(isinstance(server, Server) for server in servers):
        raise ValueError("a Redis Cluster has no Sentinels: pass the addresses of its nodes")
    return ClusterSeeds(cast(list[Server], servers))


def _endpoint(entry: Host, common: Mapping[str, Any], *, in_cluster: bool = False) -> Endpoint:
    if isinstance(entry, str):
        return _server(entry, common, in_cluster)
    if isinstance(entry, Mapping):
        return _from_mapping(entry, common, in_cluster)
    host, port = _pair(entry, "a host has to be a URL, a pair (host, port) or a dict")
    return _server(None, {**common, "host": host, "port": port}, in_cluster)


def _pair(entry: object, expected: str) -> tuple[str, int]:
    """Raises :class:`ValueError` that does not quote what was given: it may be a password."""
    if isinstance(entry, tuple | list):
        parts = cast(Sequence[object], entry)
        if len(parts) == 2 and isinstance(parts[0], str):
            try:
                return parts[0], int(cast(Any, parts[1]))
            except (TypeError, ValueError):
                pass
    raise ValueError(expected)


def _from_mapping(
    entry: Mapping[str, Any], common: Mapping[str, Any], in_cluster: bool
) -> Endpoint:
    options = {**common, **entry}
    service_name = options.pop("master_name", None) or options.pop("service_name", None)
    if "sentinels" not in options:
        if service_name is not None:
            raise ValueError("a host has master_name but no sentinels")
        return _server(options.pop("address", None), options, in_cluster)
    if not isinstance(service_name, str):
        raise ValueError("a host has sentinels but no master_name, the service to ask them for")
    sentinels, kwargs = options.pop("sentinels"), options.pop("sentinel_kwargs", None)
    return _service(sentinels, service_name, kwargs, options)


def _service(
    sentinels: Sequence[tuple[str, int]],
    service_name: str,
    sentinel_kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> SentinelService:
    expected = "sentinels has to be a list of pairs (host, port), with one or more of them"
    if isinstance(sentinels, str | bytes) or not sentinels:
        raise ValueError(expected)
    return SentinelService(
        [
            _server(None, {**(sentinel_kwargs or {}), "host": host, "port": port})
            for host, port in (_pair(each, expected) for each in sentinels)
        ],
        service_name,
        _server(None, options),
    )


def _server(url: str | None, options: Mapping[str, Any], in_cluster: bool = False) -> Server:
    arguments: dict[str, Any] = dict(options)
    if url is None:
        connection_class = _connection_class(arguments)
    else:
        plain = url.replace("+cluster://", "://", 1) if _is_cluster_url(url) else url
        try:
            arguments.update(cast(dict[str, Any], parse_url(plain)))
        except ValueError as error:
            # Not the URL itself: it may have a password in it. Nor what urllib says of a port,
            # which is a part of the password if that has a slash in it.
            why = str(error)
            if "Port" in why:
                why = "its port is not a number (a / in a password is written %2F)"
            raise ValueError(f"a host is a URL that cannot be used: {why}") from None
        connection_class = arguments.pop("connection_class", None) or _connection_class(arguments)
    for name in _OF_POOLS:
        arguments.pop(name, None)
    try:
        return Server(connection_class, arguments, in_cluster=in_cluster)
    except TypeError as error:
        raise TypeError(
            f"an option of a host or in connection_kwargs that redis-py does not have: {error}"
        ) from None


def _connection_class(arguments: dict[str, Any]) -> Callable[..., ServerConnection]:
    path = arguments.pop("unix_socket_path", None) or arguments.get("path")
    if path is not None:
        arguments["path"] = path
        return cast(Callable[..., ServerConnection], UnixDomainSocketConnection)
    kind = SSLConnection if arguments.pop("ssl", False) else Connection
    return cast(Callable[..., ServerConnection], kind)


def _is_cluster_url(entry: Host) -> bool:
    url = entry.get("address") if isinstance(entry, Mapping) else entry
    return isinstance(url, str) and url.startswith(_CLUSTER)
