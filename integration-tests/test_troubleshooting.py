"""The messages that docs/how-to/troubleshooting.md quotes are those that one gets."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markdown_blocks import blocks
from redis_servers import free_port

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.draining import drain
from fast_channels.exceptions import FastChannelsError
from fast_channels.layers import (
    InMemoryChannelLayer,
    get_channel_layer,
    get_sync_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.layers._workers import (
    _WARNING,  # pyright: ignore[reportPrivateUsage]  # only several processes make it public
)
from fast_channels.layers.redis import RedisPubSubChannelLayer
from fast_channels.middleware import OriginValidator
from fast_channels.statistics import statistics
from fast_channels.testing import WebsocketCommunicator
from fast_channels.types import Event

MIB = 1024 * 1024
PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "troubleshooting.md"
QUOTED = blocks(PAGE, "text")


def plain(text: str) -> str:
    """Without what differs from one time to the next, and what the log adds."""
    for pattern, stands_for in (
        (r"127\.0\.0\.1(:|', )\d+", r"127.0.0.1\g<1>PORT"),
        (r"specific\.[0-9a-f]{16}![0-9a-f]+", "CHANNEL"),
        (r" \([a-z.]+: \d+ since the last such line\)", ""),
        (r"\s+", " "),
        (r"(within \S+ s:) .*", r"\1 REASON"),  # in the words of redis-py, which change
    ):
        text = re.sub(pattern, stands_for, text)
    return text.strip()


class Chat(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    async def chat_message(self, event: Event) -> None: ...


class ChatInThreads(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "default"
    groups = ["room"]

    def chat_note(self, text: Event) -> None: ...


ChatInThreads.__qualname__ = "Chat"


class WithoutLayer(AsyncJsonWebsocketConsumer):
    groups = ["lobby"]


WithoutLayer.__qualname__ = "Chat"


class OfAnotherLayer(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "chat"


class Busy(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: object, /) -> None:
        await asyncio.Event().wait()


async def open_from(**headers: str) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    app = OriginValidator(Chat.as_asgi())
    await WebsocketCommunicator(app, "/ws/system", headers=pairs).connect()


async def send_to(consumer: type[AsyncJsonWebsocketConsumer], event_type: str) -> None:
    async with WebsocketCommunicator(consumer, "/ws") as ws:
        await get_channel_layer().group_send("room", {"type": event_type})
        await ws.settle()


async def send_to_slow_member() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    for _ in range(2):
        await layer.group_send("room", {"type": "chat.message"})
    await layer.close_channel(channel)


async def send_twice() -> None:
    for _ in range(2):
        await send()


async def drain_with_busy_handler() -> None:
    ws = WebsocketCommunicator(Busy, "/ws")
    await ws.connect()
    await ws.send_json({})
    await drain(timeout=0.1, jitter=0)


async def send_without_redis() -> None:
    layer = RedisPubSubChannelLayer([("127.0.0.1", free_port())], send_timeout=0.5)
    try:
        await layer.group_send("room", {"type": "a"})
    finally:
        await layer.close()


async def send_blocking() -> None:
    get_sync_channel_layer().group_send("room", {"type": "a"})


async def send(**content: object) -> None:
    await get_channel_layer().send("jobs", {"type": "job", **content})


PROVOCATIONS: tuple[Callable[[], Awaitable[object]], ...] = (
    lambda: open_from(host="here.example", origin="https://shop.example"),
    lambda: open_from(host="here.example"),
    drain_with_busy_handler,
    lambda: send_to(Chat, "chat.massage"),
    lambda: send_to(ChatInThreads, "chat.note"),
    send_to_slow_member,
    lambda: WebsocketCommunicator(OfAnotherLayer, "/ws").connect(),
    lambda: WebsocketCommunicator(WithoutLayer, "/ws").connect(),
    send_twice,
    lambda: send(text="-" * MIB),
    lambda: send(when=datetime.now(UTC)),
    lambda: get_channel_layer().group_send("room 1", {"type": "a"}),
    send_without_redis,
    send_blocking,
    lambda: get_channel_layer().receive("specific.f6d0f0e36eab9ea2!1"),
)


async def soon(provoke: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        await provoke()


def test_what_is_quoted_is_what_one_gets(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    heard: set[str] = set()
    for provoke in PROVOCATIONS:
        monkeypatch.setattr(statistics, "_logged", {})  # each reason is logged once a second
        register_channel_layer("default", InMemoryChannelLayer(capacity=1, max_message_bytes=MIB))
        try:
            asyncio.run(soon(provoke))
        except FastChannelsError as error:
            heard.add(plain(str(error)))
        finally:
            unregister_channel_layer("default")
    heard.update(plain(record.getMessage()) for record in caplog.records)
    quoted = {plain(text) for text in QUOTED}
    # Those take several processes, and a broken environment.
    quoted -= {plain(_WARNING), *(text for text in quoted if text.startswith("ImportError"))}
    assert quoted - heard == set()
    assert len(quoted) == len(PROVOCATIONS)
