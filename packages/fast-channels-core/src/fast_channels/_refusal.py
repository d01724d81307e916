"""The answer to connections that this process does not want."""

import asyncio
import math
from typing import Final

from fast_channels._event_stream import CONTENT_TYPE, HEADERS, encode_retry
from fast_channels.types import Headers, Receive, Scope, Send

PLAIN_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")


def can_deny(scope: Scope) -> bool:
    """Whether the server has ASGI's extension for HTTP responses to WebSocket handshakes."""
    return "websocket.http.response" in (scope.get("extensions") or {})


async def refuse(scope: Scope, receive: Receive, send: Send, retry_after: float) -> None:
    """Answer 503 to an HTTP request or a WebSocket handshake.

    A WebSocket gets it from servers that have the extension ``websocket.http.response`` of
    ASGI; the others answer 403. An EventSource, which gives up for good whatever the status (WHATWG
    HTML, 9.2.3), gets a stream that says when to come back, and no more.
    """
    # Without delay they would all come back to where they were.
    retry_after = max(1.0, retry_after)
    if scope["type"] == "http" and _is_event_source(scope):
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        await send({"type": "http.response.body", "body": encode_retry(retry_after)})
        return
    # RFC 9110, 10.2.3: whole seconds.
    seconds = str(math.ceil(retry_after)).encode()
    headers: Headers = [PLAIN_TEXT, (b"retry-after", seconds)]
    await deny(scope, receive, send, 503, headers, b"Service Unavailable", code=1012)


async def deny(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    code: int,
) -> None:
    """Answer an HTTP request or a WebSocket handshake with this response.

    ``code``: of the close event for servers without ASGI's denial responses, which answer 403.
    """
    if scope["type"] == "websocket":
        event = await receive()
        if event["type"] != "websocket.connect":
            return  # The client has left.
        if not can_deny(scope):
            await send({"type": "websocket.close", "code": code})
            return
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    await send({"type": f"{prefix}.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": body})
    # uvicorn's websockets-sansio complains of a handshake that was not completed, if the
    # application ends before the connection has.
    await asyncio.sleep(0)


def _is_event_source(scope: Scope) -> bool:
    accepted = dict(scope.get("headers", ())).get(b"accept")
    return scope.get("method") == "GET" and accepted == CONTENT_TYPE
