"""Refuses every WebSocket as its query says, and serves a page to connect from."""

from typing import Any

from asgi import routed
from consumers import Control, query
from reporting import report

from fast_channels.consumer import AsyncHttpConsumer, AsyncWebsocketConsumer


class Refusing(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        how: Any = query(self.scope)["how"]
        if how == "error":
            raise LookupError("in connect")
        await self.reject(4401, "log in", mode=how, status=401, body="who are you?")

    async def disconnect(self, code: int, /) -> None:
        report("rejected", how=query(self.scope)["how"], code=code)


class Page(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        headers = {b"content-type": b"text/html; charset=utf-8"}
        await self.send_response(200, b"<!doctype html><title>Page</title>", headers=headers)


application = routed(
    {"/refusing": Refusing.as_asgi(), "/page": Page.as_asgi(), "/control": Control.as_asgi()}
)
