"""The consumer for server-sent events: a stream that lives until its client leaves."""

from typing import Any, Final

import msgspec
from asgiref.typing import HTTPRequestEvent

from fast_channels._event_stream import (
    HEADERS,
    LAST_EVENT_ID,
    decode_last_event_id,
    encode_comment,
    encode_event,
    encode_retry,
)
from fast_channels._refusal import PLAIN_TEXT
from fast_channels.consumer._groups import GroupMember
from fast_channels.consumer._keep_alive import KeptAlive, require_interval
from fast_channels.consumer._response import Response, State
from fast_channels.consumer.base import require_scope_type
from fast_channels.consumer.http import AsyncHttpConsumer
from fast_channels.exceptions import (
    AcceptConnection,
    ConnectionStateError,
    DenyConnection,
    UnhandledEventError,
)
from fast_channels.types import Event, Headers, Receive, Scope, Send

__all__ = ["AsyncSSEConsumer"]


class AsyncSSEConsumer(GroupMember, AsyncHttpConsumer):
    """One event stream, as an ``EventSource`` asks for it. Override :meth:`connect`.

    Server-sent events are those of the HTML specification (WHATWG HTML, 9.2). Handlers of layer
    events send them, with :meth:`send_event`, until the client leaves or :meth:`close`. However
    the stream ends, :meth:`disconnect` runs once, after the channel has left its groups and was
    closed.

    When :meth:`connect` raises before the stream began, the response is a 500, after which an
    EventSource gives up. An exception later ends the stream, and an EventSource connects again.

    A client that does not read costs the messages that its channel holds (the layer's capacity,
    with :attr:`overflow` for what is too much), the event that is being sent, and what the server
    buffers: uvicorn, hypercorn and granian let :meth:`send_event` wait, daphne buffers without
    limit.
    """

    keep_alive_interval: float | None = 15.0
    """Seconds without an event after which a comment is sent, at most a tenth later; None for
    never. Proxies drop connections that are quiet (9.2.7), and a client that has vanished without a
    word is noticed only by what it does not acknowledge."""

    _requested = False
    _stream: KeptAlive

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        require_interval(cls.keep_alive_interval, cls)

    async def connect(self, last_event_id: str | None) -> None:
        """A client asks for the stream, which begins when this returns or sends something.

        ``last_event_id``: the id of the last event that the client has, if it was connected before
        and that event had an id: send here what it has missed since. Events of the
        :attr:`groups` come after what is sent here; some of them may be among what was missed.
        It comes from the client, in the header ``Last-Event-ID`` (9.2.4), so it may be anything;
        one that is not UTF-8 counts as none.

        Call :meth:`reject` to refuse; raising :class:`DenyConnection` does so with status 403.
        """

    async def accept(self, headers: Headers | None = None) -> None:
        """Begin the stream, with ``headers`` in addition to those that it has to have.

        Without this call it begins by itself. Raises :class:`ConnectionStateError` if it has
        begun. Does nothing if the client has left.
        """
        await self.send_headers(headers=[*HEADERS, *(headers or ())])
        # Servers keep the headers until there is a body, if only an empty part of it.
        await self.send_body(b"", more_body=True)
        self._stream.keep_alive()

    async def reject(
        self, status: int = 204, body: bytes = b"", *, headers: Headers | None = None
    ) -> None:
        """Answer with a response instead of a stream: an EventSource does not connect again.

        It gives up for any status but 200 and redirects (9.2.3); 204 is the one for "do not
        come again" (9.2.1). Raises :class:`ConnectionStateError` if the stream has
        begun: then :meth:`close` it, and reject when the client connects again.
        """
        if self._response.state is State.STARTED:
            raise ConnectionStateError("reject() comes too late, the stream has begun: use close()")
        if headers is None and body:
            headers = [PLAIN_TEXT]
        await self.send_response(status, body, headers=headers)

    async def send_event(
        self,
        data: str | None = None,
        *,
        json: object = None,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send an event, with exactly one of ``data`` and ``json``, which is encoded.

        Line ends in ``data``, which may be CR, LF or both, arrive as LF. ``event``: its name, which
        an EventSource takes for ``"message"`` if it has none. ``id``: what the client will have
        for its last event; ``""`` for none. ``retry``: milliseconds that the client shall wait
        before it connects again.

        After the end of the stream the event is dropped and counted. Raises :class:`ValueError`
        unless there is one kind of data, and for CR, LF or NUL in ``event`` and ``id``;
        :class:`TypeError` for a value of a wrong type.
        """
        await self._write(encode_event(_text(data, json), event, id, retry))

    async def send_comment(self, text: str = "") -> None:
        """Send what a client ignores; proxies see that the connection is in use."""
        await self._write(encode_comment(text))

    async def close(self) -> None:
        """End the stream; an EventSource connects again. Closing again does nothing."""
        if self._response.state is State.WAITING:
            await self.accept()
        if self._response.state is State.STARTED:
            await self.send_body(b"")

    async def broadcast_event(
        self,
        group: str,
        data: str | None = None,
        *,
        json: object = None,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send an event to the streams of all members of a group, without a handler.

        It is the message ``{"type": "sse.event", "data": ...}``, with ``event``, ``id`` and
        ``retry`` if given, which anybody may send to a group or a channel. Raises as
        :meth:`send_event` and :meth:`BaseChannelLayer.group_send` do.
        """
        text = _text(data, json)
        encode_event(text, event, id, retry)  # What cannot be one is refused here, not by members.
        fields = {"data": text, "event": event, "id": id, "retry": retry}
        given = {name: value for name, value in fields.items() if value is not None}
        await self.channel_layer.group_send(group, {"type": "sse.event", **given})

    async def on_drain(self, retry_after: float, /) -> None:
        """The process is to end, and this stream in a moment: tell the client when to come back.

        See :meth:`AsyncConsumer.on_drain`. An EventSource goes by ``retry_after``, if it was sent,
        until it is told another ``retry``.
        """
        await self._write(encode_retry(retry_after))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run for one GET request. Other methods get status 405, and HEAD the headers of a stream;
        no handler is called for them."""
        require_scope_type(self, scope, "http")
        if scope["method"] == "GET":
            await super().__call__(scope, receive, send)
            return
        status, headers = (200, HEADERS) if scope["method"] == "HEAD" else (405, _ALLOW)
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b""})

    # Events of the server and of the layer.

    async def http_request(self, message: HTTPRequestEvent) -> None:
        """Join :attr:`groups`, then call :meth:`connect`. The request's body is not looked at."""
        if not self._requested:
            self._requested = True
            await self._answer(self._begin())

    async def _begin(self) -> None:
        headers = dict(self.scope.get("headers", ()))
        await self._join_groups()
        try:
            await self.connect(decode_last_event_id(headers.get(LAST_EVENT_ID, b"")))
        except AcceptConnection:
            pass
        except DenyConnection:
            await self.reject(403)
        if self._response.state is State.WAITING:
            await self.accept()

    async def http_keep_alive(self, message: Event) -> None:
        """The stream has been quiet for :attr:`keep_alive_interval`: send a comment."""
        await self.send_comment()

    async def sse_event(self, message: Event) -> None:
        """An event for this stream, sent to the channel or to a group."""
        data: Any = message.get("data")
        try:
            chunk = encode_event(
                data, message.get("event"), message.get("id"), message.get("retry")
            )
        except (TypeError, ValueError) as error:
            raise UnhandledEventError(f"an 'sse.event' message is refused: {error}") from None
        await self._write(chunk)

    def _make_protocol(self) -> Response:
        self._response = self._stream = KeptAlive(
            self.base_send,
            self._on_complete,
            gives_up=self.overflow == "close",
            interval=self.keep_alive_interval,
        )
        return self._response

    async def _write(self, chunk: bytes) -> None:
        if self._response.state is State.WAITING:
            await self.accept()
        await self.send_body(chunk, more_body=True)


def _text(data: str | None, json: object) -> str:
    if (data is None) == (json is None):
        raise ValueError("an event takes either data or json, and one of them")
    return _encode_json(json).decode() if data is None else data


_ALLOW: Final = [(b"allow", b"GET, HEAD"), (b"content-length", b"0")]
_encode_json = msgspec.json.Encoder().encode
