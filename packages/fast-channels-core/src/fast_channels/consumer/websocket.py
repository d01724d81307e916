"""Consumers for WebSockets: frames as they are, or frames of JSON."""

from typing import Any, Literal, get_args

import msgspec
from asgiref.typing import (
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
)

from fast_channels._refusal import can_deny
from fast_channels.consumer._close_frame import INTERNAL_ERROR, close_code, close_reason
from fast_channels.consumer._frames import (
    binary_frame,
    error_report,
    frame_key,
    make_denial,
    require_upgrade,
    text_frame,
)
from fast_channels.consumer._groups import GroupMember
from fast_channels.consumer._heartbeat import Heartbeat, make_socket
from fast_channels.consumer._outbox import Outbox, require_outbox
from fast_channels.consumer._protocol import LOST
from fast_channels.consumer._socket import Socket, State
from fast_channels.consumer.base import require_scope_type
from fast_channels.exceptions import (
    AcceptConnection,
    ConnectionStateError,
    DenyConnection,
    UnhandledEventError,
)
from fast_channels.layers._mailbox import as_frame
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Receive, Scope, Send

__all__ = ["AsyncJsonWebsocketConsumer", "AsyncWebsocketConsumer"]

ErrorPolicy = Literal["close", "report", "ignore"]
RejectMode = Literal["close", "denial", "http"]


class AsyncWebsocketConsumer(GroupMember):
    """One WebSocket connection. Override :meth:`connect`, :meth:`receive`, :meth:`disconnect`.

    When a handler raises, the exception is logged and by default the socket closed with 1011;
    see :attr:`error_policy`. However the connection ends, :meth:`disconnect` runs once, after the
    channel has left its groups and was closed.
    """

    error_policy: ErrorPolicy = "close"
    """What follows when a handler of an open socket raised, after the exception was logged:
    ``"close"``: the socket is closed with 1011; ``"report"``: the client is sent
    :meth:`error_frame`; ``"ignore"``: it is counted. An exception in :meth:`connect` closes."""

    outbox: Outbox | None = None
    """What may wait for a client that reads slowly. None: :meth:`send` waits for the server to
    take the frame, so a slow client slows down its own handlers and nobody else's. With
    ``overflow = "close"`` or a heartbeat an outbox that waits is always there, so that a handler
    that waits in :meth:`send` does not keep the connection from being closed."""

    heartbeat_interval: float | None = None
    """Seconds without a frame of the client after which it is sent :attr:`heartbeat_text`, to be
    answered with the same. None: never. A proxy between must allow for that much silence."""

    heartbeat_timeout: float = 10.0
    """Seconds that the client has then to send anything at all. If it does not, it is taken for
    gone: :meth:`disconnect` is called with 1006 within half a second, and in case that the client
    was only slow, the server is given a close frame (3008). The question overtakes what waits in
    an outbox, but not what the server holds. While its frames wait for handlers, a client is not
    silent."""

    heartbeat_text: str = '{"type":"heartbeat"}'
    """What is asked and answered. With a heartbeat, no handler gets such a frame."""

    _socket: Socket

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.error_policy not in (policies := get_args(ErrorPolicy)):
            raise ValueError(
                f"{cls.__qualname__}.error_policy is {cls.error_policy!r}, "
                f"expected one of {policies}"
            )
        require_outbox(cls, cls.outbox)
        Heartbeat.of(cls)

    async def connect(self) -> None:
        """A client asks for a connection. By default it is accepted.

        Call :meth:`accept` or :meth:`reject`; raising :class:`AcceptConnection` accepts, too, and
        :class:`DenyConnection` refuses with HTTP status 403. Without either the client waits.
        """
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A frame came: its text, or its bytes; the other is None."""

    async def disconnect(self, code: int, /) -> None:
        """The connection has ended; what is sent now is dropped.

        ``code``: from the client's close frame, or 1005 if that had none; what :meth:`close` was
        called with; 1006 if the connection broke or the server cancelled it.
        """

    async def accept(self, subprotocol: str | None = None, headers: Headers | None = None) -> None:
        """Accept the connection, with one of the subprotocols that the client offers.

        Raises :class:`ConnectionStateError` if it was accepted before, :class:`ValueError` for
        a subprotocol that was not offered (the client would have to fail the connection:
        RFC 6455, 4.1), :class:`TypeError` for headers that are not bytes. Does nothing if the
        client has left.
        """
        await self._socket.accept(self.scope, subprotocol, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run for one WebSocket; an HTTP request that came here is answered with status 426."""
        if scope["type"] == "http":
            # Mounting a path sends both kinds of request to it.
            await require_upgrade(send)
            return
        require_scope_type(self, scope, "websocket")
        await super().__call__(scope, receive, send)
        if self._socket.refused is not None:
            # All is released. Whoever does not take the close frame has to end the connection.
            raise self._socket.refused

    # Frames, not events as in the base class: Channels has had these two forms since version 1.
    async def send(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        close: bool | int = False,
        *,
        key: str | None = None,
    ) -> None:
        """Send a frame of text or of bytes, and close after it if ``close`` is True or a code.

        ``key``: what the frame is the latest news of, for an :attr:`outbox` that keeps the
        latest frame of each key; without effect otherwise.

        After the end of the connection the frame is dropped and counted. Raises
        :class:`ConnectionStateError` before :meth:`accept`, :class:`ValueError` unless exactly
        one kind of data is given, :class:`TypeError` for data of a wrong type.
        """
        if (text_data is None) == (bytes_data is None):
            raise ValueError("send() takes either text_data or bytes_data, and one of them")
        if close:
            # Refused before the frame is sent rather than after it.
            close = close_code(close)
        frame = text_frame(text_data) if text_data is not None else binary_frame(bytes_data)
        write = self._socket.write(frame, key if key is None else frame_key(key))
        try:
            await write
        except LOST as error:
            self._socket.lost(error)
        if close:
            await self.close(close)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection, or refuse it if it was not accepted yet.

        ``code``: None and True mean 1000. ``reason``: at most 123 bytes of UTF-8. What was sent
        before goes out first. Returns without waiting for the client's answer. The handler that
        runs goes on; the consumer ends after it. Closing again does nothing.

        A refused client sees HTTP status 403, never the code: see :meth:`reject`. Raises
        :class:`ValueError` for a code that RFC 6455 forbids to send and for a reason that is too
        long. daphne sends no reasons, and of the codes below 3000 only 1000 and 1011: 4003 there
        stands for 1003.
        """
        code, reason = close_code(code), close_reason(reason)
        if self._connection is not None and self._socket.state in (State.CONNECTING, State.OPEN):
            self._connection.end(code, reason)
            await self._connection.goodbye_begun()

    async def reject(
        self,
        code: int = 4403,
        reason: str | None = None,
        *,
        mode: RejectMode = "close",
        status: int = 403,
        body: str | bytes = b"",
        headers: Headers = (),
    ) -> None:
        """Refuse the connection in :meth:`connect`, so that the client learns why.

        ``mode``:

        * ``"close"``: the handshake is completed and the connection closed with ``code`` and
          ``reason``, in between no frame is sent. All that a script in a browser can see.
        * ``"denial"``: the handshake is answered with HTTP ``status``, ``headers`` and ``body``
          (text as UTF-8), for clients that are no browsers. Servers without the extension
          "WebSocket Denial Response" of ASGI, daphne for one, answer 403.
        * ``"http"``: the handshake is answered with HTTP status 403.

        A script in a browser sees 1006 for the latter two. :meth:`disconnect` is given ``code``
        by all. Raises :class:`ConnectionStateError` after :meth:`accept`, :class:`ValueError` for
        a status not from 400 to 599, :class:`TypeError` for wrong types, and as :meth:`close` does.
        """
        code, reason = close_code(code), close_reason(reason)
        denial = make_denial(status, body, headers)
        if mode not in (modes := get_args(RejectMode)):
            raise ValueError(f"mode is {mode!r}, expected one of {modes}")
        if self._socket.state is State.OPEN:
            raise ConnectionStateError("reject() was called after accept(): use close()")
        if self._socket.state is State.CONNECTING:
            if mode == "close":
                self._socket.accept_to_close(self.scope)
            elif mode == "denial" and can_deny(self.scope):
                self._socket.denial = denial
            await self.close(code, reason)

    async def broadcast(
        self,
        group: str,
        *,
        text: str | None = None,
        bytes: bytes | None = None,
        json: object = None,
        key: str | None = None,
    ) -> None:
        """Send one frame to the sockets of all members of a group, without a handler.

        The frame is encoded once, so this is the fastest way to say the same to many. Give
        exactly one of ``text``, ``bytes`` and ``json``; the latter is encoded with
        ``encode_json`` if the class has one. ``key``: see :meth:`send`. Members whose socket is
        not open miss it. Raises as
        :meth:`BaseChannelLayer.group_send` does, :class:`ValueError` unless there is one kind of
        data, and :class:`TypeError` for data of a wrong type.
        """
        if (text is not None) + (bytes is not None) + (json is not None) != 1:
            raise ValueError("broadcast() takes exactly one of text, bytes and json")
        if json is not None:
            text = await self._encode(json)
        frame = text_frame(text) if text is not None else binary_frame(bytes)
        if key is not None:
            frame["key"] = frame_key(key)
        await self.channel_layer.group_send(group, frame)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        """A handler raised ``exc`` while it was given ``event``.

        By default the exception is logged and :attr:`error_policy` followed. A client that was
        not accepted yet is accepted first, so that it sees the code 1011. What this method raises
        itself is logged, too, and closes with 1011.
        """
        self._log_error(exc, event)
        may_go_on = self._socket.state is State.OPEN and event.get("type") != "websocket.connect"
        if may_go_on and self.error_policy == "report":
            await self.send(await self._encode(self.error_frame(exc, event)))
        elif may_go_on and self.error_policy == "ignore":
            statistics.count("handler.error", f"{type(self).__qualname__} lives on after an error")
        else:
            self._socket.accept_to_close(self.scope)
            await self.close(INTERNAL_ERROR, "internal error")

    def error_frame(self, exc: Exception, event: Event, /) -> object:
        """What the client is told of an exception, by the policy ``"report"``: encoded as JSON.

        By default nothing of the exception itself, which may be nobody else's business. ``code``
        is the one of the close frame that there was not.
        """
        return error_report(INTERNAL_ERROR, "handler.error", "internal error")

    # Events of the server.

    async def websocket_connect(self, message: WebSocketConnectEvent) -> None:
        """Join :attr:`groups`, then call :meth:`connect`."""
        await self._join_groups()
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await self.close()

    async def websocket_receive(self, message: WebSocketReceiveEvent) -> None:
        """Call :meth:`receive` with the frame."""
        text = message.get("text")
        if text is not None:
            await self.receive(text_data=text)
        else:
            await self.receive(bytes_data=message.get("bytes"))

    async def websocket_disconnect(self, message: WebSocketDisconnectEvent) -> None:
        """Call :meth:`disconnect`. The groups are left by now, whatever overrides this."""
        await self.disconnect(message["code"])

    # Events of the layer that concern the socket itself.

    async def websocket_send(self, message: Event) -> None:
        """A frame for this socket, sent to the channel or to a group."""
        frame = as_frame(message)
        if frame is None:
            raise UnhandledEventError(
                "a 'websocket.send' message must have either 'text', a str, or 'bytes', bytes; "
                f"it has {sorted(map(str, message))}"
            )
        if self._socket.state is State.CONNECTING:
            statistics.count("event.before_accept", "a frame to a socket that is not accepted yet")
            return
        key = message.get("key")
        if not isinstance(key, str | None):
            raise UnhandledEventError(f"the 'key' of a 'websocket.send' message is {key!r}, no str")
        await self._socket.finish(self._socket.write(frame, key))

    async def websocket_close(self, message: Event) -> None:
        """A request to close this socket, sent to the channel or to a group."""
        try:
            await self.close(message.get("code"), message.get("reason"))
        except (TypeError, ValueError) as error:
            raise UnhandledEventError(f"a 'websocket.close' message is refused: {error}") from None

    def _is_connected(self) -> bool:
        return self._socket.state is not State.CONNECTING

    def _make_protocol(self) -> Socket:
        self._socket = make_socket(self)
        return self._socket

    async def _encode(self, content: object) -> str:
        return _encode_json(content).decode()


class AsyncJsonWebsocketConsumer(AsyncWebsocketConsumer):
    """A WebSocket connection whose frames are texts of JSON. Override :meth:`receive_json`.

    A text frame that is not JSON closes the connection with 1007, a binary frame with 1003;
    :attr:`error_policy` may have the client told instead, or the frame ignored and counted.
    """

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Decode a frame and call :meth:`receive_json`."""
        if text_data is None:
            await self._refuse(1003, "expected a text frame of JSON, got a binary frame")
            return
        try:
            content = await self.decode_json(text_data)
        except (ValueError, RecursionError):
            await self._refuse(1007, "expected a text frame of JSON, got one that is not")
            return
        await self.receive_json(content, **kwargs)

    async def receive_json(self, content: Any, /) -> None:
        """A frame came; ``content`` is what its JSON says."""

    async def _refuse(self, code: int, why: str) -> None:
        if self.error_policy == "close":
            await self.close(code, why)
        elif self.error_policy == "report":
            await self.send(await self._encode(error_report(code, "frame.invalid", why)))
        else:
            statistics.count("frame.invalid", why)

    async def send_json(
        self, content: Any, close: bool | int = False, *, key: str | None = None
    ) -> None:
        """Encode anything that :meth:`encode_json` takes and send it; see :meth:`send`."""
        if close or key is not None or not self._events.sends_plain_json:
            text = await self.encode_json(content)
            if key is None:
                # An overridden send() may know of no key.
                await self.send(text, close=close)
            else:
                await self.send(text, close=close, key=key)
            return
        # The same, for a class that overrides neither, without their calls.
        write = self._socket.write(
            {"type": "websocket.send", "text": _encode_json(content).decode()}
        )
        try:
            await write
        except LOST as error:
            self._socket.lost(error)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """JSON text for ``content``. Override it for other types or another library.

        By default takes what msgspec does: also datetimes, UUIDs, dataclasses and Structs.
        """
        return _encode_json(content).decode()

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """The content of a JSON text. Raises :class:`ValueError` if it is none."""
        return _decode_json(text_data)

    async def _encode(self, content: object) -> str:
        return await self.encode_json(content)


_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode
