"""The same questions without a library: a task for each connection, and nobody who checks."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_INTERVAL = 30
_QUESTION = {"type": "websocket.send", "text": '{"type":"heartbeat"}'}


async def application(_scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    asking = asyncio.create_task(_ask(send))
    try:
        while (await receive())["type"] == "websocket.receive":
            pass
    finally:
        asking.cancel()


async def _ask(send: Send) -> None:
    while True:
        await asyncio.sleep(_INTERVAL)
        await send(_QUESTION)
