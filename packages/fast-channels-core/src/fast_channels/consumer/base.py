"""The consumer that takes any ASGI protocol, and how a consumer becomes an application."""

import functools
import inspect
from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar, Literal, cast, get_args, overload

from fast_channels._cookies import parse_cookies
from fast_channels._guard import run_guarded
from fast_channels._refusal import refuse
from fast_channels.consumer._close_frame import SERVICE_RESTART
from fast_channels.consumer._connection import Connection
from fast_channels.consumer._handlers import EventTable, is_of_the_library
from fast_channels.consumer._live import closed_gate, live_connections, retry_reason
from fast_channels.consumer._protocol import Protocol
from fast_channels.consumer._reports import logger
from fast_channels.consumer._threads import adopt_plain_handlers
from fast_channels.exceptions import InvalidChannelLayerError, StopConsumer
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.layers.registry import channel_layers
from fast_channels.limits import Limits
from fast_channels.types import ASGIConnection, Event, Receive, Scope, Send

__all__ = ["AsyncConsumer", "ConsumerApplication"]

Overflow = Literal["drop_newest", "drop_oldest", "close"]


class AsyncConsumer:
    """One connection of any ASGI protocol: events by type to methods of the same name.

    A server event or a message from the channel layer of type ``"chat.message"`` is given to
    the coroutine method ``chat_message``. Handlers run one at a time, in the order in which
    events arrived. A server event reaches the handler of its type; a message from the layer
    reaches only methods that the application's own classes declare.

    The consumer ends when a handler raises :class:`StopConsumer`, when the client leaves, or
    when the server cancels the application. Events that wait by then are dropped, and when the
    handler that runs has returned, the channel leaves every group and is closed. After that, if
    the client left, the handler of the server's disconnect event runs, once; consumers of a
    certain protocol run it however they end.
    """

    channel_layer_alias: str | None = None
    """The registered layer that this consumer uses; None for no layer and no channel."""

    overflow: Overflow = "drop_newest"
    """What happens to a message from the layer when as many wait as the layer's capacity for
    the channel: it is dropped, the oldest is dropped, or the connection is closed (1013)."""

    cancel_on_disconnect: bool = False
    """Whether the handler that runs is cancelled when the client leaves, instead of waited for.
    It is noticed while no more than 32 events of the client wait; they are dropped then."""

    close_timeout: float = 5.0
    """Seconds that the end may take from which nobody but the client gains: writing what waits
    to be sent, and the server's own goodbye. After that the server drops the connection."""

    limits: Limits | None = None
    """What a client may ask of one connection; see :class:`fast_channels.limits.Limits`."""

    scope: Scope
    """What the server said about the connection; ``scope["cookies"]`` is always there."""

    base_send: Send
    """The server's ``send``. It skips every check that ``send`` makes."""

    _events: ClassVar[EventTable]
    _connection: Connection | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.overflow not in (policies := get_args(Overflow)):
            raise ValueError(
                f"{cls.__qualname__}.overflow is {cls.overflow!r}, expected one of {policies}"
            )
        if cls.limits is not None and not isinstance(cls.limits, Limits):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(
                f"{cls.__qualname__}.limits must be a Limits or None, not {cls.limits!r}"
            )
        adopt_plain_handlers(cls, is_of_the_library)
        cls._events = EventTable(cls)

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> "ConsumerApplication":
        """An ASGI 3 application that makes a new consumer, ``cls(**initkwargs)``, for each scope.

        Raises :class:`TypeError` if the class does not take these arguments.
        """
        return ConsumerApplication(cls, initkwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run for one connection; an instance serves only one.

        Raises :class:`InvalidChannelLayerError` if the class names a layer that is not
        registered. What handlers raise goes to :meth:`on_error`, not to the server.
        """
        if self._connection is not None:
            raise RuntimeError(
                f"one {type(self).__qualname__} object was called for a second connection: "
                "give the server as_asgi(), which makes one for each"
            )
        self.scope = scope
        self.base_send = send
        if "cookies" not in scope:
            scope["cookies"] = parse_cookies(scope.get("headers", ()))
        self._connection = connection = Connection(
            self, self._make_protocol(), self._find_layer(), self._events
        )
        live, limits = live_connections(connection.loop), self.limits
        live.add(connection)
        try:
            if limits is None:
                await connection.run(receive)
                return
            connection.channel.mailbox.max_groups = limits.groups
            await run_guarded(limits, scope, receive, send, connection.run)
        finally:
            live.remove(connection)

    @property
    def channel_layer(self) -> BaseChannelLayer:
        """The layer that :attr:`channel_layer_alias` names.

        Raises :class:`InvalidChannelLayerError` if the consumer has none.
        """
        if self._connection is None or self._connection.channel.layer is None:
            raise self._no_layer("it")
        return self._connection.channel.layer

    @property
    def channel_name(self) -> str:
        """The name of this connection's channel, valid also in the disconnect handler.

        Raises :class:`InvalidChannelLayerError` if the consumer has no layer.
        """
        if self._connection is None or self._connection.channel.layer is None:
            raise self._no_layer("a channel name")
        return self._connection.channel.name

    async def dispatch(self, message: Event, /) -> None:
        """Give an event to the handler of its type.

        Override it to do something around every handler. Raises :class:`UnhandledEventError`
        if there is none; the consumer logs and counts that, and lives on.
        """
        if self._connection is not None and self._connection.from_layer:
            await self._events.find_for_layer(self, message)(message)
        else:
            await self._events.find_for_server(self, message)(message)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send one ASGI event to the server."""
        await self.base_send(dict(message))

    async def layer_gap(self, event: Event, /) -> None:
        """Messages from the layer may have been missed, because its broker was away.

        Called once for each such incident. Override it to bring the client up to date; by
        default nothing happens.
        """

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        """A handler raised ``exc`` while it was given ``event``.

        By default the exception is logged and the consumer ends. What this method raises itself
        is logged, too, and ends the consumer; :class:`StopConsumer` ends it quietly.
        """
        self._log_error(exc, event)
        raise StopConsumer

    async def on_drain(self, retry_after: float, /) -> None:
        """The process is to end, and this connection in a moment.

        Override it to take leave of the client, or to bring to a good end what must not be cut;
        after it the connection is closed with 1012. :func:`fast_channels.draining.drain` says how
        long it may take. ``retry_after``: seconds after which the client is told to come back.
        A WebSocket that is not accepted yet is refused without this call.
        """

    async def connection_drain(self, event: Event, /) -> None:
        """Let concurrent handlers finish, call :meth:`on_drain`, then end."""
        connection, retry_after = self._connection, event["retry_after"]
        if connection is None:
            return
        if connection.crew is not None:
            await connection.crew.finish()
        if connection.ending is None:
            try:
                if self._is_connected():
                    await self.on_drain(retry_after)
            finally:
                connection.end(SERVICE_RESTART, retry_reason(retry_after))

    def _is_connected(self) -> bool:
        """Whether there is anybody to take leave of."""
        return True

    def _make_protocol(self) -> Protocol:
        return Protocol()

    def _log_error(self, exc: Exception, event: Event) -> None:
        if self._connection is not None:
            logger.error(
                "%s: the handler of %r raised %s",
                self._connection.identity(),
                event.get("type"),
                type(exc).__name__,
                exc_info=exc,
            )

    def _find_layer(self) -> BaseChannelLayer | None:
        if self.channel_layer_alias is None:
            return None
        try:
            return channel_layers.get(self.channel_layer_alias)
        except InvalidChannelLayerError as error:
            error.add_note(f"needed by {type(self).__qualname__}.channel_layer_alias")
            raise

    def _no_layer(self, what: str) -> InvalidChannelLayerError:
        known = ", ".join(map(repr, channel_layers)) or "none"
        return InvalidChannelLayerError(
            f"{type(self).__qualname__} has no channel layer, so {what} cannot be used: "
            f"set channel_layer_alias to a registered alias (registered: {known})"
        )


AsyncConsumer._events = EventTable(AsyncConsumer)  # pyright: ignore[reportPrivateUsage]  # its own


class ConsumerApplication:
    """The ASGI application of a consumer class, from :meth:`AsyncConsumer.as_asgi`.

    An object rather than a function, because Starlette takes a function for a view of its own.
    """

    def __init__(self, consumer_class: type[AsyncConsumer], initkwargs: Mapping[str, Any]) -> None:
        try:
            inspect.signature(consumer_class).bind(**initkwargs)
        except TypeError as error:
            raise TypeError(f"{consumer_class.__qualname__}.as_asgi(): {error}") from None
        self.consumer_class: type[AsyncConsumer] = consumer_class
        """The class; every connection gets an instance of its own."""
        self.consumer_initkwargs: dict[str, Any] = dict(initkwargs)
        """The arguments that each instance is made with."""
        functools.update_wrapper(self, consumer_class, updated=())

    @overload
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
    @overload
    async def __call__(self, scope: ASGIConnection, /) -> None: ...
    async def __call__(
        self,
        scope: Scope | ASGIConnection,
        receive: Receive | None = None,
        send: Send | None = None,
    ) -> None:
        """Run a consumer as an ASGI application, or for a ``WebSocket`` that a view of Starlette,
        FastAPI or Litestar was given: ``await application(websocket)``.

        The latter lets a view check dependencies first. It must not have accepted the socket.
        """
        if not isinstance(scope, MutableMapping):
            receive, send = scope.receive, _server_send(scope)
            scope = cast(Scope, scope.scope)
        elif receive is None or send is None:
            raise TypeError(f"{self!r} takes a scope, receive and send, or an object with these")
        gate = closed_gate()
        if gate is None or scope["type"] not in ("http", "websocket"):
            await self.consumer_class(**self.consumer_initkwargs)(scope, receive, send)
        else:
            await refuse(scope, receive, send, gate.retry_after())

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.consumer_initkwargs.items())
        return f"{self.consumer_class.__qualname__}.as_asgi({arguments})"


def _server_send(connection: ASGIConnection) -> Send:
    """The connection's ``send``, with the error that a server raises when the client has gone.

    Starlette raises an exception of its own in place of that OSError.
    """

    async def send(event: MutableMapping[str, Any]) -> None:
        try:
            await connection.send(event)
        except Exception as error:
            if isinstance(error.__context__, OSError):
                raise ConnectionError("the client has gone") from error
            raise

    return send


def require_scope_type(consumer: AsyncConsumer, scope: Scope, expected: str) -> None:
    if scope["type"] != expected:
        raise ValueError(
            f"{type(consumer).__qualname__} was called for a scope of type {scope['type']!r}, but "
            f"it serves {expected!r}: route only such connections to it"
        )
