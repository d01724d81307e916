"""Connections that come and go, half of them by an exception in a handler; what is left then."""

import argparse
import asyncio
import gc
import logging
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import uvloop

from benchmarks.workers._process import pin, resident_bytes, say
from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer

_AT_ONCE = 100
_layer = InMemoryChannelLayer()


class Visitor(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["lobby"]
    disconnected = 0

    async def connect(self) -> None:
        await self.channel_layer.group_add("visitors", self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, /) -> None:
        if content == "raise":
            raise RuntimeError("as the benchmark wants it")
        await self.send_json(content)

    async def disconnect(self, code: int, /) -> None:
        Visitor.disconnected += 1


class Client:
    """The server's side of one connection: what an ASGI server would say, without a socket."""

    def __init__(self, *, raising: bool) -> None:
        self._raising = raising
        self._events = iter(self._say())
        self._closed = asyncio.Event()

    def _say(self) -> list[dict[str, Any]]:
        text = '"raise"' if self._raising else '"hello"'
        events: list[dict[str, Any]] = [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": text},
        ]
        if not self._raising:
            events.append({"type": "websocket.disconnect", "code": 1001})
        return events

    async def receive(self) -> MutableMapping[str, Any]:
        for event in self._events:
            return event
        await self._closed.wait()
        return {"type": "websocket.disconnect", "code": 1011}

    async def send(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "websocket.close":
            self._closed.set()


_application = Visitor.as_asgi()


async def _visit(number: int) -> None:
    client = Client(raising=number % 2 == 1)
    scope = {
        "type": "websocket",
        "path": "/",
        "headers": [(b"host", b"localhost"), (b"cookie", b"session=1")],
        "subprotocols": [],
    }
    await _application(scope, client.receive, client.send)


async def _visits(count: int) -> None:
    for first in range(0, count, _AT_ONCE):
        await asyncio.gather(*map(_visit, range(first, first + _AT_ONCE)))


async def _measure(cycles: int) -> None:
    register_channel_layer("default", _layer)
    await _visits(cycles // 10)
    gc.collect()
    memory, objects, started = resident_bytes(), _own_objects(), time.process_time()
    await _visits(cycles)
    seconds = time.process_time() - started
    gc.collect()
    say(
        growth=resident_bytes() - memory,
        seconds=seconds / cycles,
        tasks=len(asyncio.all_tasks()) - 1,
        objects=_own_objects() - objects,
        entries=_entries(),
        missed=cycles + cycles // 10 - Visitor.disconnected,
    )


def _own_objects() -> int:
    """Living objects of the library's classes."""
    return sum("fast_channels" in str(type(each).__module__) for each in gc.get_objects())


def _entries() -> int:
    """Channels and groups that the layer still knows; nothing public lists them."""
    table = _layer._table  # pyright: ignore[reportPrivateUsage]
    return len(table.channels) + len(table.groups)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    pin(options.core)
    logging.disable()
    uvloop.run(_measure(options.cycles))


if __name__ == "__main__":
    main()
