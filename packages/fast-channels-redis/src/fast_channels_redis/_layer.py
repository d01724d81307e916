"""The options that both Redis layers take."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypedDict, cast

from fast_channels.exceptions import InvalidNameError
from fast_channels.layers import BrokerChannelLayer
from fast_channels.layers.base import ChannelCapacity
from fast_channels.types import Message
from fast_channels_redis._connection import RedisConnection
from fast_channels_redis._options import DEFAULT_CONNECT_TIMEOUT, Host, parse_hosts
from fast_channels_redis._receiver import Item
from fast_channels_redis._settings import Notice, Settings

DEFAULT_MAX_MESSAGE_BYTES: Final = 1024 * 1024


class RedisOptions(TypedDict, total=False):
    """The options of both layers; :class:`RedisLayer` says what they mean."""

    sentinels: Sequence[tuple[str, int]] | None
    service_name: str | None
    sentinel_kwargs: Mapping[str, Any] | None
    connection_kwargs: Mapping[str, Any] | None
    cluster: bool
    prefix: str
    expiry: float
    group_expiry: float
    capacity: int
    channel_capacity: ChannelCapacity | None
    symmetric_encryption_keys: Iterable[str | bytes] | None
    serializer_format: str
    random_prefix_length: int
    max_message_bytes: int
    send_timeout: float
    linger: float
    liveness_timeout: float
    claim_timeout: float
    max_deliveries: int
    on_disconnect: Notice | None
    on_reconnect: Notice | None


class RedisLayer(BrokerChannelLayer):
    """A layer on Redis 6.2 or later, or Valkey: one server, several, Sentinel, or a Cluster.

    Where the server is:

    ``hosts``: a list of URLs (``redis://``, ``rediss://``, ``unix://``), pairs ``(host, port)``, or
    dicts: ``{"address": url}``, the arguments of a redis-py connection, or ``{"sentinels":
    [(host, port), …], "master_name": …}``. Default: ``["redis://localhost:6379"]``. With several
    hosts, the name of a group, channel or process decides which one serves it; every process must
    have the same hosts in the same order.
    ``sentinels``, ``service_name``: addresses of Sentinels as pairs, and the service to ask them
    for. ``sentinel_kwargs``: arguments of redis-py for the connections to the Sentinels.
    ``connection_kwargs``: arguments of redis-py for all others, such as ``password``, ``username``,
    ``db``, ``ssl`` or ``protocol`` (2 unless given). Its timeouts do not apply to replies.
    ``cluster``: the hosts are nodes of a Redis Cluster; a URL with ``redis+cluster://`` or
    ``rediss+cluster://`` says so, too.

    What it carries: ``expiry`` (seconds), ``capacity``, ``channel_capacity``,
    ``serializer_format``, ``symmetric_encryption_keys``, ``max_message_bytes`` are those of
    :class:`BrokerChannelLayer`. ``prefix``: begins every key and Redis channel; layers with
    another one do not meet.

    How it behaves: ``send_timeout``: seconds that a call goes on trying while Redis is away.
    ``linger``: seconds that a group without local members stays subscribed. ``liveness_timeout``:
    seconds without an answer after which a connection is given up and made anew; an idle
    one is asked after half of that. ``claim_timeout``: seconds after which a message of a general
    channel goes to another receiver, if the one that took it is silent. ``max_deliveries``:
    how often that happens, before the message goes to the stream ``{prefix}:dead:{channel}``.
    ``on_disconnect``, ``on_reconnect``: once for every outage, and
    for every event loop that uses the layer. Either a callable without arguments, which may be a
    coroutine function, or the type of a message that all channels of the process get.

    ``group_expiry`` and ``random_prefix_length`` are taken because other layers have them, and do
    nothing: members are never expelled, and names of channels never repeat.

    Raises :class:`ValueError` or :class:`TypeError` for options that cannot be meant, and
    :class:`ChannelLayerRefused` when it is first used and the server is not one that it can use.
    """

    def __init__(
        self,
        hosts: Iterable[Host] | None = None,
        *,
        sentinels: Sequence[tuple[str, int]] | None = None,
        service_name: str | None = None,
        sentinel_kwargs: Mapping[str, Any] | None = None,
        connection_kwargs: Mapping[str, Any] | None = None,
        cluster: bool = False,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: ChannelCapacity | None = None,
        symmetric_encryption_keys: Iterable[str | bytes] | None = None,
        serializer_format: str = "msgpack",
        random_prefix_length: int = 12,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        send_timeout: float = 5,
        linger: float = 1,
        liveness_timeout: float = 5,
        claim_timeout: float = 60,
        max_deliveries: int = 5,
        on_disconnect: Notice | None = None,
        on_reconnect: Notice | None = None,
    ) -> None:
        super().__init__(
            expiry=expiry,
            group_expiry=group_expiry,
            capacity=capacity,
            channel_capacity=channel_capacity,
            serializer_format=serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            max_message_bytes=max_message_bytes,
            send_timeout=send_timeout,
            linger=linger,
        )
        servers = parse_hosts(
            hosts,
            sentinels=sentinels,
            service_name=service_name,
            sentinel_kwargs=sentinel_kwargs,
            connection_kwargs=connection_kwargs,
            cluster=cluster,
            connect_timeout=min(DEFAULT_CONNECT_TIMEOUT, send_timeout * 0.8),
        )
        if not isinstance(prefix, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"prefix is {prefix!r}, expected a str")
        for name, seconds in (
            ("liveness_timeout", liveness_timeout),
            ("claim_timeout", claim_timeout),
        ):
            require_seconds(name, seconds)
        require_count("max_deliveries", max_deliveries, 1)
        for name, notice in (("on_disconnect", on_disconnect), ("on_reconnect", on_reconnect)):
            if notice is not None and not isinstance(notice, str) and not callable(notice):
                raise TypeError(f"{name} is {notice!r}, expected a callable or a message type")
        self.prefix = prefix
        self.random_prefix_length = random_prefix_length
        self._settings = Settings(
            servers=servers,
            prefix=prefix,
            expiry=expiry,
            send_timeout=send_timeout,
            patience=liveness_timeout,
            on_disconnect=on_disconnect,
            on_reconnect=on_reconnect,
            claim_timeout=claim_timeout,
            max_deliveries=max_deliveries,
        )

    @asynccontextmanager
    async def claim(self, channel: str) -> AsyncGenerator[Message]:
        """Take the next message of a general channel for as long as the block runs.

        ::

            async with layer.claim("thumbnails") as message:
                await make_thumbnail(message["path"])

        The end of the block acknowledges the message. After an exception in it another receiver
        gets the message, this one included; so it does ``claim_timeout`` seconds after the
        process died, or lost Redis, in the middle of it. So a message may come more than once:
        up to ``max_deliveries`` times, and then it goes to the stream
        ``{prefix}:dead:{channel}``. The block may take as long as it needs, but a message that
        is older than ``expiry`` is not delivered again.

        Raises :class:`InvalidNameError` for a channel of one process, and
        :class:`ChannelLayerUnavailable` if the acknowledgement failed.
        """
        self.require_valid_channel_name(channel)
        if "!" in channel:
            raise InvalidNameError(
                f"{channel!r} belongs to one process: only a general channel, "
                "without an exclamation mark, can be claimed from"
            )
        node = self._own_node()
        connection = cast(RedisConnection, node.connection)

        async def take() -> Item:
            await node.connected()
            return await connection.general.take(channel)

        message: Message | None = None
        while True:
            item = await node.attempt(take, for_ever=True)
            envelope = node.unseal(item.data, item.age)
            if envelope is not None:
                message = envelope.open()
                break
            connection.general.acknowledge_soon(item)
        holding = node.share(connection.general.keep(item))
        try:
            yield message
        except BaseException:
            connection.general.release_soon(item)
            raise
        else:
            await node.attempt(lambda: connection.general.acknowledge(item))
        finally:
            holding.cancel()


def require_seconds(name: str, value: float) -> None:
    """Raises :class:`ValueError` unless it is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise ValueError(f"{name} is {value!r}, expected a number of seconds above 0")


def require_count(name: str, value: int, lowest: int) -> None:
    """Raises :class:`ValueError` unless it is a whole number from ``lowest`` on."""
    if type(value) is not int or value < lowest:
        raise ValueError(f"{name} is {value!r}, expected a whole number, {lowest} or more")
