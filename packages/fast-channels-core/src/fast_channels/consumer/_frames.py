"""The ASGI events that a WebSocket consumer sends, checked and put together."""

from typing import Final

from fast_channels._refusal import PLAIN_TEXT
from fast_channels.consumer._response import checked_headers
from fast_channels.consumer._socket import Denial
from fast_channels.types import Event, Headers, Send

# RFC 9110, 15.5.22.
_UPGRADE: Final = [
    PLAIN_TEXT,
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
]


def text_frame(text: object) -> Event:
    if not isinstance(text, str):
        raise TypeError(f"the text of a frame must be a str, not {type(text).__name__}")
    return {"type": "websocket.send", "text": text}


def binary_frame(data: bytes | None) -> Event:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"the data of a binary frame must be bytes, not {type(data).__name__}")
    return {"type": "websocket.send", "bytes": bytes(data)}


def frame_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"key must be a str or None, not {key!r}")
    return key


def make_denial(status: int, body: str | bytes, headers: Headers) -> Denial:
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise ValueError(f"status is {status!r}, expected that of an HTTP error: 400 to 599")
    pairs = checked_headers(headers)
    if isinstance(body, str):
        body = body.encode()
        pairs = pairs or [PLAIN_TEXT]
    elif not isinstance(body, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"the body must be a str or bytes, not {type(body).__name__}")
    return Denial(status, pairs, body)


def error_report(code: int, error: str, message: str) -> dict[str, object]:
    """What a client is told instead of a close frame with that code, in the form that limits use.

    ``error``: a reason as the statistics have it.
    """
    return {"type": "error", "code": code, "error": error, "message": message}


async def require_upgrade(send: Send) -> None:
    """Answer an HTTP request that should have been a WebSocket handshake."""
    await send({"type": "http.response.start", "status": 426, "headers": _UPGRADE})
    await send({"type": "http.response.body", "body": b"This is a WebSocket endpoint."})
