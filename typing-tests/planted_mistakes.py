"""Mistakes that both type checkers must catch, each on a line marked `# error`, and no other line.

Where a public name has silently become `Any`, its mistakes pass and check.py says so.
"""

from typing import assert_type

from fast_channels.consumer import AsyncConsumer, AsyncHttpConsumer, NoSuchConsumer  # error
from fast_channels.consumer import concurrent, in_thread
from fast_channels.consumer.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from fast_channels.exceptions import ChannelFull
from fast_channels.layers import (
    InMemoryChannelLayer,
    RedisChannelLayer,
    RedisPubSubChannelLayer,
    get_channel_layer,
    group_name,
    register_channel_layer,
)
from fast_channels.layers import RedisChanelLayer  # error
from fast_channels.layers.redis import RedisPubsubChannelLayer  # error
from fast_channels.middleware import OriginValidator
from fast_channels.serializers import create_serializer
from fast_channels.testing import ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator
from fast_channels.types import Event

redis: int = RedisChannelLayer()  # error
pubsub: int = RedisPubSubChannelLayer()  # error


class Chat(AsyncWebsocketConsumer):
    groups = 5  # error

    async def connect(self) -> None:
        await self.accept("chat", "x-header")  # error
        await self.accept(sub_protocol="chat")  # error
        await self.channel_layer.group_add("room")  # error
        await self.channel_layer.group_send("room", "hello")  # error
        await self.channel_layer.group_remove("room", self.channel_name)  # error
        await self.channel_layer.group_add(1, self.channel_name)  # error
        self.channel_name.no_such_method()  # error

    async def receive(self, text_data: int) -> None:  # error
        await self.send(b"bytes")  # error
        await self.send(bytes_data="text")  # error
        await self.close("bye")  # error
        await self.broadcast("room", txt="hello")  # error
        await self.broadcast("room", text=b"hello")  # error

    async def disconnect(self, code: str, /) -> None:  # error
        await self.base_send("websocket.close")  # error


class SideBySide(AsyncWebsocketConsumer):
    @in_thread
    def connect(self, name: str) -> None:  # error
        self.look_up(5)  # error

    @in_thread
    def look_up(self, topic: str) -> int:
        return topic  # error

    @concurrent(limit=4)
    async def chat_message(self, event: Event) -> None:
        await self.chat_message()  # error

    @concurrent(limit="many")  # error
    async def chat_note(self, event: Event) -> None: ...

    @concurrent  # error
    def chat_report(self, event: Event) -> None: ...


class Json(AsyncJsonWebsocketConsumer):
    async def receive_json(self) -> None:  # error
        await self.send_json()  # error
        await self.send_jason({})  # error

    async def on_error(self, error: Exception) -> None:  # error
        await self.close(1011, reason=1011)  # error


class Page(AsyncHttpConsumer):
    async def handle(self, body: str) -> None:  # error
        await self.send_response("200", b"")  # error
        await self.send_body("text")  # error
        await self.send_headers(status=200, headers=["text/plain"])  # error


class Plain(AsyncConsumer):
    channel_layer_alias = 1  # error


Chat.as_asgi()({"type": "websocket"})  # error
OriginValidator(Chat)  # error

register_channel_layer(InMemoryChannelLayer())  # error
register_channel_layer("default", "memory")  # error
InMemoryChannelLayer(capacity="10")  # error
InMemoryChannelLayer(capcity=10)  # error
get_channel_layer(1)  # error
assert_type(get_channel_layer(), InMemoryChannelLayer)  # error
group_name("room")  # error
create_serializer(1)  # error
ChannelFull("room").channel.no_such_method()  # error


async def in_tests() -> None:
    client = WebsocketCommunicator(Chat)  # error
    client = WebsocketCommunicator(Chat, 1)  # error
    client = WebsocketCommunicator("Chat", "/")  # error
    await client.send_to(1)  # error
    await client.no_such_method()  # error
    await client.disconnect(code="1000")  # error
    await HttpCommunicator(Page, "GET")  # error
    await ApplicationCommunicator(Chat.as_asgi(), "/").wait()  # error
