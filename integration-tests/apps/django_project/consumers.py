"""Every kind of consumer that Django Channels has, all with the same manners.

A client is told its channel first. An order ``{"to": "group", "name": "lobby", "text": "hi"}``
sends; what is sent comes as ``{"text": "hi"}``. Nobody leaves a group in the end: the layer has to
notice.
"""

import json
from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from channels.layers import get_channel_layer
from django.conf import settings
from django.utils.safestring import mark_safe
from redis import Redis

Message = dict[str, Any]


def as_message(order: Message, channel: str) -> Message:
    # What a template renders is a subclass of str.
    return {"type": "chat.message", "text": mark_safe(order["text"]), "reply_to": channel}


class AsyncRoom(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(room, self.channel_name)
        await self.accept()
        await self.send(json.dumps({"channel": self.channel_name}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        order = json.loads(text_data or "")
        layer, message = self.channel_layer, as_message(order, self.channel_name)
        await (layer.group_send if order["to"] == "group" else layer.send)(order["name"], message)

    async def chat_message(self, message: Message) -> None:
        await self.send(json.dumps({"text": message["text"]}))


class SyncRoom(WebsocketConsumer):
    def connect(self) -> None:
        room = self.scope["url_route"]["kwargs"]["room"]
        async_to_sync(self.channel_layer.group_add)(room, self.channel_name)
        self.accept()
        self.send(json.dumps({"channel": self.channel_name}))

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        order = json.loads(text_data or "")
        layer, message = self.channel_layer, as_message(order, self.channel_name)
        send = layer.group_send if order["to"] == "group" else layer.send
        async_to_sync(send)(order["name"], message)

    def chat_message(self, message: Message) -> None:
        self.send(json.dumps({"text": message["text"]}))


class JsonRoom(JsonWebsocketConsumer):
    def connect(self) -> None:
        room = self.scope["url_route"]["kwargs"]["room"]
        async_to_sync(self.channel_layer.group_add)(room, self.channel_name)
        self.accept()
        self.send_json({"channel": self.channel_name})

    def receive_json(self, content: Message, **_: Any) -> None:
        layer, message = self.channel_layer, as_message(content, self.channel_name)
        send = layer.group_send if content["to"] == "group" else layer.send
        async_to_sync(send)(content["name"], message)

    def chat_message(self, message: Message) -> None:
        self.send_json({"text": message["text"]})


class AsyncJsonRoom(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(room, self.channel_name)
        await self.accept()
        await self.send_json({"channel": self.channel_name})

    async def receive_json(self, content: Message, **_: Any) -> None:
        layer, message = self.channel_layer, as_message(content, self.channel_name)
        send = layer.group_send if content["to"] == "group" else layer.send
        await send(content["name"], message)

    async def chat_message(self, message: Message) -> None:
        await self.send_json({"text": message["text"]})


class Everybody(WebsocketConsumer):
    groups = ["everybody"]

    def connect(self) -> None:
        self.accept()
        self.send(json.dumps({"channel": self.channel_name}))

    def chat_message(self, message: Message) -> None:
        self.send(json.dumps({"text": message["text"]}))


def count_done(message: Message) -> None:
    """Tell the test that the answer has been sent, and the call that sent it is over.

    A client has the answer earlier, and a worker that is stopped in between waits for ever:
    async_to_sync for the event loop, the end of the process for its thread.
    """
    with Redis.from_url(settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]) as redis:
        redis.incr(f"done:{message['reply_to']}")


class Worker(AsyncConsumer):
    """Answers to the channel that asked."""

    async def job(self, message: Message) -> None:
        answer = {"type": "chat.message", "text": f"{message['text']} is done"}
        await get_channel_layer().send(message["reply_to"], answer)
        count_done(message)


class SyncWorker(SyncConsumer):
    def job(self, message: Message) -> None:
        answer = {"type": "chat.message", "text": f"{message['text']} is done"}
        async_to_sync(self.channel_layer.send)(message["reply_to"], answer)
        count_done(message)
