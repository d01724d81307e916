"""Consumers whose handlers run beside each other, and in threads; the test says how long."""

import asyncio
import json
import threading
from collections import defaultdict
from typing import Any

from asgi import routed
from asgiref.sync import async_to_sync
from consumers import query
from reporting import report, report_log

from fast_channels.consumer import (
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    concurrent,
    in_thread,
)
from fast_channels.layers import InMemoryChannelLayer, get_channel_layer, register_channel_layer

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))

gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
"""What handlers wait for, by a name that the test gives."""

blocks: defaultdict[str, threading.Event] = defaultdict(threading.Event)
"""The same, for threads."""


class Reporting(AsyncJsonWebsocketConsumer):
    """``?id=`` names the client in reports, and its group."""

    channel_layer_alias = "default"

    async def connect(self) -> None:
        self.id = query(self.scope)["id"]
        await self.channel_layer.group_add(self.id, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int, /) -> None:
        report("disconnect", id=self.id, code=code)


class Concurrent(Reporting):
    """Ten frames at a time, and four jobs, one for each key."""

    async def connect(self) -> None:
        self.ten = asyncio.Barrier(10)
        await super().connect()

    @concurrent(limit=10)
    async def receive_json(self, content: Any, /) -> None:
        if content["do"] == "meet":
            await self.ten.wait()
            await self.send_json("met")
        elif content["do"] == "close":
            await self.close(4000)
        else:
            await self.wait_at(content["gate"])
            await self.send_json("done")

    @concurrent(limit=4, key=lambda event: event["key"])
    async def job(self, event: dict[str, Any]) -> None:
        name = f"{event['key']}{event['number']}"
        await self.wait_at(name)
        await self.send_json(name)

    async def wait_at(self, gate: str) -> None:
        report("begun", id=self.id, gate=gate)
        try:
            await gates[gate].wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # A clean-up may take its time.
            report("cancelled", id=self.id)
            raise


class Threaded(Reporting):
    """Blocks a thread with each frame."""

    @in_thread
    def receive_json(self, content: Any, /) -> None:
        report("begun", id=self.id)
        blocks[content].wait()
        report("returned", id=self.id)
        async_to_sync(self.send_json)(content)


class Control(AsyncHttpConsumer):
    """Opens gates for handlers, sends events to groups, and marks a place in the reports."""

    async def handle(self, body: bytes) -> None:
        order: dict[str, Any] = json.loads(body) if body else {}
        if "mark" in order:
            report("mark", number=order["mark"])
        for name in order.get("open", ()):
            gates[name].set()
            blocks[name].set()
        for message in order.get("messages", ()):
            await get_channel_layer().group_send(order["group"], message)
        await self.send_response(200, b"{}")


application = routed(
    {
        "/concurrent": Concurrent.as_asgi(),
        "/threaded": Threaded.as_asgi(),
        "/control": Control.as_asgi(),
    }
)
