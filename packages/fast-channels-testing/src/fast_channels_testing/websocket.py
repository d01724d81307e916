"""`WebsocketCommunicator`: a WebSocket client for tests, with no socket."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from fast_channels.exceptions import ConnectionStateError
from fast_channels.types import Message
from fast_channels_testing._response import HttpResponse
from fast_channels_testing._rules import ServerRules
from fast_channels_testing._scope import HeadersInput, QueryInput, connection_scope
from fast_channels_testing._websocket_rules import WebsocketRules
from fast_channels_testing.application import (
    DEFAULT_TIMEOUT,
    Application,
    ApplicationCommunicator,
    Timeout,
)
from fast_channels_testing.exceptions import UnexpectedFrame, WebsocketClosed

__all__ = ["WebsocketCommunicator"]

# The upgrade request of RFC 6455 section 1.3, with its own sample key.
_UPGRADE_HEADERS = (
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
)
_SUBPROTOCOL_HEADER = b"sec-websocket-protocol"

_ANSWER = "the answer to the handshake"


class WebsocketCommunicator(ApplicationCommunicator):
    """Connects to a WebSocket application and sees what a real client would see.

    ``query``, the query string or its names and values, may as well be in ``path``.
    ``spec_version`` is that of ``scope["asgi"]``. See `ApplicationCommunicator` for waits, timeouts
    and errors.

    What the application sends is checked as a server does: an event out of order raises
    RuntimeError in the application, and sending to a client that is gone raises OSError there.

    ``async with`` opens the connection: the block begins when the application has answered the
    handshake, or when ``timeout`` is over. It begins also if that went wrong, so that a test can
    look at a refusal: ``connect`` returns the answer, and the other calls raise. If nothing was
    called, the end of the block raises. There the client disconnects, and the application must end
    within ``timeout``.
    """

    def __init__(
        self,
        application: Application,
        path: str,
        headers: HeadersInput | None = None,
        subprotocols: Sequence[str] | None = None,
        spec_version: str | None = None,
        *,
        cookies: Mapping[str, str] | None = None,
        query: QueryInput | None = None,
        raise_app_exceptions: bool = True,
        timeout: float | None = 1,
    ) -> None:
        self._was_looked_at = False
        upgrade = list(_UPGRADE_HEADERS)
        if subprotocols:
            upgrade.append((_SUBPROTOCOL_HEADER, ", ".join(subprotocols).encode("ascii")))
        scope = connection_scope("websocket", path, query, headers, cookies, extra_headers=upgrade)
        scope["asgi"]["spec_version"] = spec_version or "2.4"
        scope["scheme"] = "ws"
        offered = _offered(scope["headers"]) if subprotocols is None else list(subprotocols)
        scope["subprotocols"] = offered
        self._rules = WebsocketRules(offered)
        scope["extensions"]["websocket.http.response"] = {}
        super().__init__(
            application, scope, raise_app_exceptions=raise_app_exceptions, timeout=timeout
        )

    def _server_rules(self) -> ServerRules:
        return self._rules

    @property
    def handshake_response(self) -> HttpResponse | None:
        """The HTTP answer to the handshake: 101, a refusal, or None as long as there is none.

        A refusal is 403, what the application sent as a denial response, or 500 where it ended
        without an answer. A browser does not show it to scripts; other clients do.
        """
        self._was_looked_at |= self._rules.handshake is not None
        return self._rules.handshake

    async def connect(self, timeout: Timeout = DEFAULT_TIMEOUT) -> tuple[bool, str | int | None]:
        """Open the connection; return ``(True, subprotocol)`` or ``(False, close code)``.

        The code of a refused handshake is 1006, whatever code the application closed with: no
        client is ever told that one. `handshake_response` has the HTTP side. A handshake that the
        application accepts with a subprotocol that was not offered, or with none of those that
        were, fails like that as well: browsers do not take it.

        What a consumer's ``reject()`` comes to, then: with ``mode="close"``, its default,
        ``(True, subprotocol)``, as the handshake succeeds, and the next wait raises
        `WebsocketClosed` with the code; with ``"denial"`` and ``"http"`` ``(False, 1006)``.

        In an ``async with`` block the connection is open already; then, and when called again, this
        returns the answer that there was. After a timeout, another call goes on waiting.
        """
        rules = self._rules
        if not rules.requested:
            await self.send_input({"type": "websocket.connect"})
        await self._answered(timeout)
        if rules.accepted:
            return True, rules.subprotocol
        if rules.unanswered and self._link.raise_errors:
            raise self._link.ended_error(_ANSWER)
        self._link.output.clear()
        return False, 1006

    async def send_text(self, text: str) -> None:
        """Send a text frame; `WebsocketClosed` once it is closed."""
        await self.send_to(text_data=text)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary frame; `WebsocketClosed` once it is closed."""
        await self.send_to(bytes_data=data)

    async def send_json(self, data: Any) -> None:
        """Send ``data`` as JSON in a text frame; `WebsocketClosed` once it is closed."""
        await self.send_to(text_data=json.dumps(data))

    async def receive_text(self, timeout: Timeout = DEFAULT_TIMEOUT) -> str:
        """Return the text of the next frame; `UnexpectedFrame` if that is a binary frame."""
        frame = await self.receive_from(timeout)
        if isinstance(frame, bytes):
            raise UnexpectedFrame(f"expected a text frame, got the bytes {frame!r}")
        return frame

    async def receive_bytes(self, timeout: Timeout = DEFAULT_TIMEOUT) -> bytes:
        """Return the data of the next frame; `UnexpectedFrame` if that is a text frame."""
        frame = await self.receive_from(timeout)
        if isinstance(frame, str):
            raise UnexpectedFrame(f"expected a binary frame, got the text {frame!r}")
        return frame

    async def receive_json(self, timeout: Timeout = DEFAULT_TIMEOUT) -> Any:
        """Return what the next frame, a text frame with JSON in it, stands for."""
        frame = await self.receive_from(timeout)
        if isinstance(frame, bytes):
            raise UnexpectedFrame(f"expected JSON in a text frame, got the bytes {frame!r}")
        try:
            return json.loads(frame)
        except json.JSONDecodeError as error:
            raise UnexpectedFrame(f"expected JSON, got the text {frame!r}: {error}") from error

    async def close(
        self, code: int = 1000, reason: str = "", *, timeout: Timeout = DEFAULT_TIMEOUT
    ) -> None:
        """Close the connection as the client, and wait until the application has ended.

        See `disconnect`, which is the same.
        """
        await self.disconnect(code, timeout, reason=reason)

    async def send_to(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send one frame: exactly one of text and bytes. `WebsocketClosed` once it is closed."""
        event: Message = {"type": "websocket.receive"}
        match text_data, bytes_data:
            case str(), None:
                event["text"] = text_data
            case None, bytes():
                event["bytes"] = bytes_data
            case _:
                raise TypeError(
                    "send_to() takes either text_data, a str, or bytes_data, bytes; "
                    f"got {text_data=} and {bytes_data=}"
                )
        await self._answered()
        if self._rules.closed is not None:
            raise self._closed_error()
        await self.send_input(event)

    async def receive_from(self, timeout: Timeout = DEFAULT_TIMEOUT) -> str | bytes:
        """Return the next frame's text or bytes; `WebsocketClosed` if there are no more.

        A close frame of the application is one that ``receive_output`` returns as an event.
        """
        await self._answered(timeout)
        rules, output = self._rules, self._link.output
        await self._expect(lambda: bool(output) or rules.closed is not None, timeout, "a frame")
        if not output or (event := output.popleft())["type"] != "websocket.send":
            raise self._closed_error()
        data: str | bytes = event["bytes"] if event.get("text") is None else event["text"]
        return data

    send_json_to = send_json
    receive_json_from = receive_json

    async def disconnect(
        self, code: int = 1000, timeout: Timeout = DEFAULT_TIMEOUT, *, reason: str = ""
    ) -> None:
        """Close the connection as the client and wait until the application has ended.

        The application first gets the frames that were sent before. A client that leaves before
        the handshake is complete has no code to give: the application sees 1006. Raises what the
        application raised and the test has not been told.
        """
        rules, link = self._rules, self._link
        if not rules.requested:
            # There is no connection, so nobody to tell an application that was started.
            await self.stop(timeout=timeout)
            return
        if rules.closed is None:
            left = (code, reason) if rules.accepted else (1006, "")
            link.push({"type": "websocket.disconnect", "code": left[0], "reason": left[1]})
        await self.wait(timeout)

    async def __aenter__(self) -> Self:
        link = self._link
        try:
            if not self._rules.requested:
                await self.send_input({"type": "websocket.connect"})
            # What it comes to is for the first call in the block to tell.
            await link.until(self._has_answer, self.timeout)
        except BaseException as error:
            await self._stop_behind(error)
            raise
        self._drop_acceptance()
        return self

    async def _leave(self) -> None:
        failure: Exception | None = None
        if not self._rules.accepted and not self._was_looked_at:
            failure = (
                self._closed_error()
                if self._has_answer()
                else self._link.timeout_error(_ANSWER, self.timeout)
            )
        await self.disconnect()
        if failure is not None:
            raise failure

    def _has_answer(self) -> bool:
        return self._rules.handshake is not None or self._rules.closed is not None

    async def _answered(self, timeout: Timeout = DEFAULT_TIMEOUT) -> None:
        """Wait for the answer to the handshake, and for nothing if it is there."""
        self._was_looked_at = True
        if not self._rules.requested and not self._has_answer():
            raise ConnectionStateError("the WebSocket is not open: await connect() first")
        await self._expect(self._has_answer, timeout, _ANSWER)
        self._drop_acceptance()

    def _drop_acceptance(self) -> None:
        """It is told by connect(), and is no frame to be received."""
        output = self._link.output
        if output and output[0]["type"] == "websocket.accept":
            output.popleft()

    def _closed_error(self) -> WebsocketClosed:
        # An application that ended in the middle was closed by its server, abnormally.
        code, reason = self._rules.closed or (1006, "")
        return WebsocketClosed(code, reason, self._rules.ending)


def _offered(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name == _SUBPROTOCOL_HEADER]
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
