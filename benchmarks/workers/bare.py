"""The floor: an ASGI application that sends every text to every socket, and nothing else."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_members: list[Send] = []


async def application(_scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    _members.append(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            frame = {"type": "websocket.send", "text": event["text"]}
            for member in _members:
                await member(frame)
    finally:
        _members.remove(send)
