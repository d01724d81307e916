"""Consumers for WebSockets: frames as they are, or frames of JSON."""

from typing import Any, Final

import msgspec
from asgiref.typing import (
    WebSocketConnectEvent,
    WebSocketDisconnectEvent,
    WebSocketReceiveEvent,
)

from fast_channels.consumer._groups import GroupMember
from fast_channels.consumer._socket import LOST, Socket, State, close_code, close_reason
from fast_channels.consumer.base import require_scope_type
from fast_channels.exceptions import AcceptConnection, DenyConnection, UnhandledEventError
from fast_channels.layers._mailbox import as_frame
from fast_channels.statistics import statistics
from fast_channels.types import Event, Headers, Receive, Scope, Send

__all__ = ["AsyncJsonWebsocketConsumer", "AsyncWebsocketConsumer"]


class AsyncWebsocketConsumer(GroupMember):
    """One WebSocket connection. Override :meth:`connect`, :meth:`receive`, :meth:`disconnect`.

    When a handler raises, the exception is logged and the socket closed with 1011; see
    :meth:`on_error`. However the connection ends, :meth:`disconnect` runs once, after the channel
    has left its groups and was closed.
    """

    _socket: Socket

    async def connect(self) -> None:
        """A client asks for a connection. By default it is accepted.

        Call :meth:`accept`, or :meth:`close` to reject; raising :class:`AcceptConnection` or
        :class:`DenyConnection` does the same. Without either the client waits.
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
        RFC 6455, 4.1). Does nothing if the client has left.
        """
        await self._socket.accept(self.scope, subprotocol, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run for one WebSocket; an HTTP request that came here is answered with status 426."""
        if scope["type"] == "http":
            # Mounting a path sends both kinds of request to it.
            await send({"type": "http.response.start", "status": 426, "headers": _UPGRADE})
            await send({"type": "http.response.body", "body": b"This is a WebSocket endpoint."})
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
    ) -> None:
        """Send a frame of text or of bytes, and close after it if ``close`` is True or a code.

        After the end of the connection the frame is dropped and counted. Raises
        :class:`ConnectionStateError` before :meth:`accept`, :class:`ValueError` unless exactly
        one kind of data is given, :class:`TypeError` for data of a wrong type.
        """
        if (text_data is None) == (bytes_data is None):
            raise ValueError("send() takes either text_data or bytes_data, and one of them")
        if close:
            # Refused before the frame is sent rather than after it.
            close = close_code(close)
        frame = _text_frame(text_data) if text_data is not None else _binary_frame(bytes_data)
        write = self._socket.write(frame)
        try:
            await write
        except LOST as error:
            self._socket.lost(error)
        if close:
            await self.close(close)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection, or reject it if it was not accepted yet.

        ``code``: None and True mean 1000. ``reason``: at most 123 bytes of UTF-8. The handler
        that runs goes on; the consumer ends after it. Closing again does nothing.

        A rejected client sees HTTP status 403, never the code. Raises :class:`ValueError` for a
        code that RFC 6455 forbids to send and for a reason that is too long. daphne sends no
        reasons, and of the codes below 3000 only 1000 and 1011: 4003 there stands for 1003.
        """
        code, reason = close_code(code), close_reason(reason)
        if self._socket.state is State.CLOSED:
            return
        if self._connection is not None:
            self._connection.end(code, reason)
        await self._socket.close(code, reason)

    async def broadcast(
        self,
        group: str,
        *,
        text: str | None = None,
        bytes: bytes | None = None,
        json: object = None,
    ) -> None:
        """Send one frame to the sockets of all members of a group, without a handler.

        The frame is encoded once, so this is the fastest way to say the same to many. Give
        exactly one of ``text``, ``bytes`` and ``json``; the latter is encoded with
        ``encode_json`` if the class has one. Members whose socket is not open miss it. Raises as
        :meth:`BaseChannelLayer.group_send` does, :class:`ValueError` unless there is one kind of
        data, and :class:`TypeError` for data of a wrong type.
        """
        if (text is not None) + (bytes is not None) + (json is not None) != 1:
            raise ValueError("broadcast() takes exactly one of text, bytes and json")
        if json is not None:
            text = await self._encode(json)
        frame = _text_frame(text) if text is not None else _binary_frame(bytes)
        await self.channel_layer.group_send(group, frame)

    async def on_error(self, exc: Exception, event: Event, /) -> None:
        """A handler raised ``exc`` while it was given ``event``.

        By default the exception is logged and the socket closed with 1011, accepted first if it
        was not, so that the client sees the code. What this method raises itself is logged, too,
        and closes with 1011.
        """
        self._log_error(exc, event)
        if self._socket.state is State.CONNECTING:
            await self._socket.accept(self.scope, None, None)
        await self.close(1011, "internal error")

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
        await self._socket.finish(self._socket.write(frame))

    async def websocket_close(self, message: Event) -> None:
        """A request to close this socket, sent to the channel or to a group."""
        try:
            await self.close(message.get("code"), message.get("reason"))
        except (TypeError, ValueError) as error:
            raise UnhandledEventError(f"a 'websocket.close' message is refused: {error}") from None

    def _make_protocol(self) -> Socket:
        self._socket = Socket(self.base_send, self._on_open, self._on_closed)
        return self._socket

    def _on_open(self) -> None:
        if self._connection is not None:
            self._connection.take_frames()

    def _on_closed(self) -> None:
        if self._connection is not None:
            self._connection.refuse_frames()

    async def _encode(self, content: object) -> str:
        return _encode_json(content).decode()


def _text_frame(text: object) -> Event:
    if not isinstance(text, str):
        raise TypeError(f"the text of a frame must be a str, not {type(text).__name__}")
    return {"type": "websocket.send", "text": text}


def _binary_frame(data: bytes | None) -> Event:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"the data of a binary frame must be bytes, not {type(data).__name__}")
    return {"type": "websocket.send", "bytes": bytes(data)}


class AsyncJsonWebsocketConsumer(AsyncWebsocketConsumer):
    """A WebSocket connection whose frames are texts of JSON. Override :meth:`receive_json`.

    A text frame that is not JSON closes the connection with 1007, a binary frame with 1003.
    """

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any
    ) -> None:
        """Decode a frame and call :meth:`receive_json`."""
        if text_data is None:
            await self.close(1003, "expected a text frame of JSON, got a binary frame")
            return
        try:
            content = await self.decode_json(text_data)
        except (ValueError, RecursionError):
            await self.close(1007, "expected a text frame of JSON, got one that is not")
            return
        await self.receive_json(content, **kwargs)

    async def receive_json(self, content: Any, /) -> None:
        """A frame came; ``content`` is what its JSON says."""

    async def send_json(self, content: Any, close: bool | int = False) -> None:
        """Encode anything that :meth:`encode_json` takes and send it; see :meth:`send`."""
        if close or not self._events.sends_plain_json:
            await self.send(await self.encode_json(content), close=close)
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


# RFC 9110, 15.5.22.
_UPGRADE: Final = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
]
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode
