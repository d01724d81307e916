"""A WebSocket server's side of a connection, with no socket.

It follows the ASGI specification and, where that leaves room, uvicorn: the order of events,
the errors that an application gets for breaking it, and the close codes on both sides.
"""

from collections.abc import Sequence

from fast_channels.types import Message
from fast_channels_testing._response import HttpResponse
from fast_channels_testing._rules import (
    after_the_end,
    as_bytes,
    body_bytes,
    header_list,
    status_code,
    unexpected,
)

# RFC 6455 section 7.4 and the IANA registry: codes that may be in a close frame.
_SENDABLE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
_MAX_REASON_BYTES = 123


class ClientDisconnected(OSError):
    """Given to an application that sends although its client is gone (ASGI spec 2.4)."""


class WebsocketRules:
    """The states of one connection, from the handshake to the close."""

    def __init__(self, offered: Sequence[str] = ()) -> None:
        """``offered``: the subprotocols that the client asks for."""
        self._offered = offered
        self.final_event: Message | None = None
        self.requested = False
        self.accepted = False
        self.subprotocol: str | None = None
        self.unanswered = False
        """Whether the application ended without an answer to the handshake."""
        self.handshake: HttpResponse | None = None
        """The answer to the upgrade request, once it is complete."""
        self.closed: tuple[int, str] | None = None
        """Code and reason as the client sees them."""
        self.ending = ""
        """How it came to be closed, in words."""
        self._denial: HttpResponse | None = None
        self._client_gone = False

    def application_sent(self, event: Message) -> Message | None:
        if self._client_gone:
            raise ClientDisconnected(f"{event['type']!r} sent, but the client has disconnected")
        if self.closed is not None:
            raise after_the_end(event, "sending 'websocket.close' or a complete response")
        if self.accepted:
            return self._sent_when_open(event)
        if self._denial is not None:
            return self._sent_in_denial(event, self._denial)
        return self._sent_in_handshake(event)

    def client_sent(self, event: Message) -> bool:
        if event["type"] == "websocket.connect":
            self.requested = True
        elif event["type"] == "websocket.disconnect":
            if self.closed is None:
                code, reason = int(event.get("code") or 1005), str(event.get("reason") or "")
                self._close(code, reason, "the client closed it")
                # With the test's own event, whatever keys it has.
                self.final_event = event
            self._client_gone = True
            return False
        # Frames that cross the application's close on the wire reach nobody.
        return self.closed is None

    def application_ended(self) -> None:
        if self.closed is None:
            if not self.accepted:
                self.unanswered = True
                self.handshake = HttpResponse(status=500, headers=[], body=b"")
            self._close(1006, "", "the application ended without a close frame")
        self._client_gone = True

    def _sent_in_handshake(self, event: Message) -> Message:
        match event["type"]:
            case "websocket.accept":
                subprotocol: object = event.get("subprotocol")
                if subprotocol is not None and not isinstance(subprotocol, str):
                    raise TypeError(f"the subprotocol must be str or None, got {subprotocol!r}")
                self.handshake = HttpResponse(status=101, headers=header_list(event), body=b"")
                self._accept(subprotocol)
            case "websocket.close":
                # The application's code has no way to the client: it sees an HTTP 403.
                _close_code(event)
                self.handshake = HttpResponse(status=403, headers=[], body=b"")
                self._refuse(403)
            case "websocket.http.response.start":
                status, headers = status_code(event), header_list(event)
                self._denial = HttpResponse(status=status, headers=headers, body=b"")
            case _:
                raise unexpected(
                    event, "websocket.accept", "websocket.close", "websocket.http.response.start"
                )
        return event

    def _accept(self, subprotocol: str | None) -> None:
        offered = ", ".join(map(repr, self._offered)) or "none"
        if subprotocol in self._offered or not (subprotocol or self._offered):
            self.subprotocol = subprotocol
            self.accepted = True
            return
        # By RFC 6455, 4.1; if none was taken by WHATWG's WebSockets standard, for browsers.
        taken = f"subprotocol {subprotocol!r}" if subprotocol else "no subprotocol"
        how = f"the client failed the handshake: {taken} was taken (offered: {offered})"
        self._close(1006, "", how)
        self._client_gone = True

    def _sent_in_denial(self, event: Message, denial: HttpResponse) -> Message:
        if event["type"] != "websocket.http.response.body":
            raise unexpected(event, "websocket.http.response.body")
        denial["body"] += body_bytes(event)
        if not event.get("more_body", False):
            self.handshake = denial
            self._refuse(denial["status"])
        return event

    def _sent_when_open(self, event: Message) -> Message:
        match event["type"]:
            case "websocket.send":
                return _data_frame(event)
            case "websocket.close":
                code, reason = _close_code(event), _close_reason(event)
                self._close(code, reason, "the application closed it")
                return event
            case _:
                raise unexpected(event, "websocket.send", "websocket.close")

    def _refuse(self, status: int) -> None:
        self._close(1006, "", f"the application refused the handshake with HTTP status {status}")

    def _close(self, code: int, reason: str, ending: str) -> None:
        self.closed = code, reason
        self.ending = ending
        self.final_event = {"type": "websocket.disconnect", "code": code, "reason": reason}


def _data_frame(event: Message) -> Message:
    text: object = event.get("text")
    data: object = event.get("bytes")
    if (text is None) == (data is None):
        # Servers differ: some send one of the two, some both, some raise.
        raise ValueError(f"'websocket.send' needs either text or bytes, got {event!r}")
    if text is not None:
        if not isinstance(text, str):
            raise TypeError(f"the text of 'websocket.send' must be str, got {text!r}")
        text.encode()  # a lone surrogate cannot be put on the wire
    else:
        event["bytes"] = as_bytes(data, "the bytes of 'websocket.send'")
    return event


def _close_code(event: Message) -> int:
    code: object = event.get("code", 1000)
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"the code of 'websocket.close' must be an int, got {code!r}")
    if code not in _SENDABLE_CODES and not 3000 <= code <= 4999:
        raise ValueError(f"the code of 'websocket.close' may not be {code}, by RFC 6455")
    return code


def _close_reason(event: Message) -> str:
    reason: object = event.get("reason") or ""
    if not isinstance(reason, str):
        raise TypeError(f"the reason of 'websocket.close' must be str, got {reason!r}")
    if len(reason.encode()) > _MAX_REASON_BYTES:
        raise ValueError(
            f"the reason of 'websocket.close' may take {_MAX_REASON_BYTES} bytes, got {reason!r}"
        )
    return reason
