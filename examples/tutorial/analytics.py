"""Live counters: every process sends what happens in it to one channel, and one counter adds up.

Without Redis the counter is a task of the application. With Redis it is a process of its own,
``python analytics.py``, and one is enough for all workers.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from fast_channels.exceptions import ChannelClosed, ChannelFull, ChannelLayerUnavailable
from fast_channels.layers import channel_layers_lifespan, get_channel_layer
from layers import setup_layers
from page import now

NAMES = ("echoes", "messages", "jobs", "notifications", "connections")
PAUSE = 0.25
"""Seconds: what happens within them is told together."""


async def record(name: str) -> None:
    """Count one more of :data:`NAMES`, unless there is no counter to take it just now."""
    await tell_counter({"type": "counted", "name": name})


async def tell_counter(message: dict[str, Any]) -> None:
    # A general channel: whoever receives from it gets each message once.
    with suppress(ChannelFull, ChannelLayerUnavailable):
        await get_channel_layer("analytics").send("events", message)


async def count() -> None:
    """Receive what is counted, and tell the group ``totals``."""
    layer = get_channel_layer("analytics")
    totals: dict[str, Any] = {"type": "totals", "counts": dict.fromkeys(NAMES, 0), "since": now()}

    async def take_one() -> None:
        match await layer.receive("events"):
            case {"type": "counted", "name": str(name)} if name in NAMES:
                totals["counts"][name] += 1
            case {"type": "totals.wanted", "answer_to": str(channel)}:
                with suppress(ChannelFull, ChannelLayerUnavailable):
                    await layer.send(channel, totals)
            case _:
                pass

    while True:
        await take_one()
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                while True:  # a receive that is cancelled loses nothing
                    await take_one()
        with suppress(ChannelLayerUnavailable):
            await layer.group_send("totals", totals)


@asynccontextmanager
async def counting() -> AsyncGenerator[None]:
    """Counts in this process, unless there is Redis and so a process for it."""
    if os.environ.get("REDIS_URL"):
        yield
        return
    counter = asyncio.create_task(count())
    try:
        yield
    finally:
        counter.cancel()
        with suppress(asyncio.CancelledError, ChannelClosed):
            await counter


class CountConnections:
    """Records each WebSocket that an application is asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await record("connections")
        await self.app(scope, receive, send)


async def main() -> None:
    setup_layers()
    counter = asyncio.create_task(count())
    with suppress(NotImplementedError):  # Windows has none
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, counter.cancel)
    async with channel_layers_lifespan():
        with suppress(asyncio.CancelledError):
            await counter


if __name__ == "__main__":
    if not os.environ.get("REDIS_URL"):
        sys.exit("REDIS_URL is not set: the application counts by itself then.")
    asyncio.run(main())
