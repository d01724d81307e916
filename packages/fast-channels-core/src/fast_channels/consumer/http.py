"""The consumer for HTTP requests, also long ones that wait for messages of a layer."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import cast

from asgiref.typing import HTTPDisconnectEvent, HTTPRequestEvent

from fast_channels.consumer._response import NO_CONTENT, Response, State, checked_headers
from fast_channels.consumer.base import AsyncConsumer, require_scope_type
from fast_channels.exceptions import ConnectionStateError
from fast_channels.types import Headers, Receive, Scope, Send

__all__ = ["AsyncHttpConsumer"]


class AsyncHttpConsumer(AsyncConsumer):
    """One HTTP request. Override :meth:`handle`.

    The consumer ends with the response. One that is not complete when :meth:`handle` returns
    (``more_body=True``) goes on: handlers of layer events may send more of the body, until one
    sends the last part or the client leaves.

    When a handler raises, the exception is logged and the response is a 500, or ends if its
    headers were sent; see :meth:`on_error`, after which this is so for an exception in
    :meth:`handle` in any case. A response that is shorter than its content-length then is broken
    off.
    """

    _response: Response
    _body: list[bytes] | None = None

    async def handle(self, body: bytes) -> None:
        """Answer the request; ``body`` is all of its body."""
        raise NotImplementedError(f"{type(self).__qualname__} must override handle(self, body)")

    async def disconnect(self) -> None:
        """The response is complete or the client has left; what is sent now is dropped."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run for one HTTP request; see :meth:`AsyncConsumer.__call__`."""
        require_scope_type(self, scope, "http")
        await super().__call__(scope, receive, send)

    async def send_headers(
        self,
        *,
        status: int = 200,
        headers: Headers | Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Send the status and the headers, names and values as bytes.

        The server may keep them until the first part of the body. Raises
        :class:`ConnectionStateError` if they were sent before.
        """
        if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise ValueError(f"status must be an HTTP status code, not {status!r}")
        pairs = cast("Headers", headers.items() if isinstance(headers, Mapping) else headers or ())
        await self._response.start(int(status), checked_headers(pairs))

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        """Send a part of the body, by default the last one.

        What is sent after the last part, or after the client has left, is dropped and counted; of
        the answer to a HEAD request, every part is dropped. Raises :class:`TypeError` if ``body``
        is not bytes, :class:`ValueError` if the status is one without a body (204 and 304) or the
        body comes out longer or shorter than its content-length, :class:`ConnectionStateError`
        before the headers.
        """
        _require_bytes(body)
        await self._response.body(body, more_body=more_body)

    async def send_response(
        self,
        status: int,
        body: bytes,
        *,
        headers: Headers | Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Send a whole response.

        Raises as the two parts do, before anything is sent unless the content-length is wrong.
        """
        _require_bytes(body)
        if body and status in NO_CONTENT:
            raise ValueError(f"a response of status {status} has no body (RFC 9110, 6.4.1)")
        await self.send_headers(status=status, headers=headers)
        await self.send_body(body)

    async def http_request(self, message: HTTPRequestEvent) -> None:
        """Collect the body; call :meth:`handle` when it is whole."""
        self._body = self._body or []
        self._body.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body, self._body = b"".join(self._body), None
        await self._answer(self.handle(body))

    async def http_disconnect(self, message: HTTPDisconnectEvent) -> None:
        """Call :meth:`disconnect`. The groups are left by now, whatever overrides this."""
        await self.disconnect()

    async def _answer(self, handling: Awaitable[None]) -> None:
        try:
            await handling
            if self._response.state is State.WAITING:
                raise ConnectionStateError(
                    f"{type(self).__qualname__}.handle() returned and no response was sent: call "
                    "send_response(), or send_headers() if the body is to follow later"
                )
        except (Exception, asyncio.CancelledError):
            if self._connection is not None:
                # After on_error, whatever that does: a client must not wait for the rest forever.
                self._connection.end(1011)
            raise

    def _make_protocol(self) -> Response:
        self._response = Response(
            self.base_send,
            self.scope.get("method", ""),
            self._on_complete,
            gives_up=self.overflow == "close",
        )
        return self._response

    def _on_complete(self) -> None:
        if self._connection is not None:
            self._connection.end(1000)


def _require_bytes(body: object) -> None:
    if not isinstance(body, bytes):
        raise TypeError(f"body must be bytes, not {type(body).__name__}: encode text first")
