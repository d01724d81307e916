"""Real connections to uvicorn, in waves that end in every way: what is left in the server."""

import asyncio
import json
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from clients import RESET_ON_CLOSE
from serving import Server, running
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SERVERS: Final = ("uvicorn-websockets", "uvicorn-sansio")
WAVE: Final = 500
_WARM_UP: Final = 3
"""Waves after which the allocator has what it needs."""
_DEADLINE: Final = 60.0
ENDINGS: Final = ("closes", "is reset", "hangs up", "is closed", "makes a handler raise")


def measure(server_name: str, connections: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(server_name, "soaked:application", Path(folder)) as server,
    ):
        for _ in range(_WARM_UP):
            asyncio.run(_wave(server))
            _found(server, {})
        before = after = _found(server, {})
        for _ in range(connections // WAVE):
            asyncio.run(_wave(server))
            # Waves that overlap would need more memory than those of the warm-up.
            after = _found(server, before)
    return {
        "endings": after["connects"] - before["connects"],
        "missed": after["connects"] - after["disconnects"],
        "left": _left(before, after),
        "logged": before["logged"] + after["logged"],
        "growth": after["memory"] - before["memory"],
    }


def _found(server: Server, before: dict[str, Any]) -> dict[str, Any]:
    """What the server says, once all have ended and are released: nothing tells when that is."""
    deadline = time.monotonic() + _DEADLINE
    logged: list[str] = []
    while True:
        _, body = server.request("GET", "/control")
        found: dict[str, Any] = json.loads(body)
        logged += found["logged"]
        is_over = not found["counts"].get("Connection") and not (before and _left(before, found))
        if is_over or time.monotonic() > deadline:
            return {**found, "logged": logged}
        time.sleep(0.1)


def _left(before: dict[str, Any], after: dict[str, Any]) -> Counter[str]:
    left = Counter[str](after["counts"] | {"open files": after["files"]})
    left.subtract(before["counts"] | {"open files": before["files"]})
    return +left


async def _wave(server: Server) -> None:
    """All at once, so that the server has all of them open."""
    gate = asyncio.Barrier(WAVE)
    async with asyncio.timeout(_DEADLINE), asyncio.TaskGroup() as group:
        for number in range(WAVE):
            group.create_task(_visit(server, ENDINGS[number % len(ENDINGS)], gate))


async def _visit(server: Server, ending: str, gate: asyncio.Barrier) -> None:
    client = await connect(
        f"ws://127.0.0.1:{server.port}/", proxy=None, compression=None, open_timeout=_DEADLINE
    )
    await client.send("hello")
    assert await client.recv() == "hello"
    await gate.wait()
    match ending:
        case "closes":
            await client.close()
        case "is reset":
            tcp: socket.socket = client.transport.get_extra_info("socket")
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            client.transport.abort()
        case "hangs up":
            client.transport.abort()
        case _:
            await client.send("close" if ending == "is closed" else "raise")
            await _closed(client)


async def _closed(client: ClientConnection) -> None:
    try:
        await client.recv()
    except ConnectionClosed:
        pass
