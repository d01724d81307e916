"""The answer to connections that come while the process is about to end."""

import math

from fast_channels._event_stream import CONTENT_TYPE, HEADERS, encode_retry
from fast_channels.types import Headers, Receive, Scope, Send


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
    headers: Headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", seconds)]
    if scope["type"] == "websocket":
        event = await receive()
        if event["type"] != "websocket.connect":
            return  # The client has left.
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1012})
            return
    prefix = "websocket.http" if scope["type"] == "websocket" else "http"
    await send({"type": f"{prefix}.response.start", "status": 503, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": b"Service Unavailable"})


def _is_event_source(scope: Scope) -> bool:
    accepted = dict(scope.get("headers", ())).get(b"accept")
    return scope.get("method") == "GET" and accepted == CONTENT_TYPE
