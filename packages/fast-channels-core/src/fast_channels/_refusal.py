"""The answer to connections that come while the process is about to end."""

import math

from fast_channels.types import Headers, Receive, Scope, Send


async def refuse(scope: Scope, receive: Receive, send: Send, retry_after: float) -> None:
    """Answer 503 to an HTTP request or a WebSocket handshake.

    A WebSocket gets it from servers that have the extension ``websocket.http.response`` of
    ASGI; the others answer 403.
    """
    # RFC 9110, 10.2.3: whole seconds. Without delay they would all come back to where they were.
    seconds = str(max(1, math.ceil(retry_after))).encode()
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
