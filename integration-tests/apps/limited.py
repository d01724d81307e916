"""Limits, as consumers have them and as middleware keeps them for any application."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from asgi import routed
from consumers import Control, query
from reporting import report, report_log

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import TooManyGroups
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.limits import Limits, LimitsMiddleware
from fast_channels.types import Receive, Scope, Send

report_log()
register_channel_layer("default", InMemoryChannelLayer())

SIZES = Limits(frame_bytes=1000, json_depth=3)
RATE = Limits(frames_per_second=20, burst=10)
LIMITS: Mapping[str, Limits] = {
    "sizes": SIZES,
    "sizes-report": replace(SIZES, on_oversize="report"),
    "close": RATE,
    "delay": replace(RATE, on_excess="delay"),
    "report": replace(RATE, on_excess="report"),
    "groups": Limits(groups=2),
}


class Echo(AsyncWebsocketConsumer):
    """Sends back what comes; ``+group`` joins a group."""

    channel_layer_alias = "default"

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is not None and text_data.startswith("+"):
            try:
                await self.channel_layer.group_add(text_data[1:], self.channel_name)
            except TooManyGroups as error:
                text_data = f"at most {error.limit}"
        await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code: int, /) -> None:
        report("disconnect", id=query(self.scope)["id"], code=code)


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """The same without a consumer, and as naive as ASGI allows."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        answer: dict[str, Any] = {key: event.get(key) for key in ("text", "bytes")}
        await send({"type": "websocket.send", **answer})
    report("disconnect", id=query(scope)["id"], code=event["code"])
    if event["code"] not in (1008, 1009):
        return
    try:
        await send({"type": "websocket.send", "text": "too late"})
    except OSError:
        report("gone", id=query(scope)["id"])


def client_key(scope: Scope) -> str:
    return query(scope)["client"]


application = routed(
    {
        **{f"/consumer/{name}": Echo.as_asgi(limits=limits) for name, limits in LIMITS.items()},
        **{
            f"/middleware/{name}": LimitsMiddleware(plain, limits=limits)
            for name, limits in LIMITS.items()
            if limits.groups is None
        },
        "/connections": LimitsMiddleware(
            Echo.as_asgi(), connections_per_client=2, client_key=client_key
        ),
        "/control": Control.as_asgi(),
    }
)
