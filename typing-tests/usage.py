"""Code as users write it, by every documented import path: both type checkers must accept it.

`assert_type` also fails where a name has become `Any`, which everything else would accept.
"""

from collections.abc import Awaitable, MutableMapping
from typing import Any, assert_type

from asgiref.sync import async_to_sync
from asgiref.typing import WebSocketConnectEvent
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute

from fast_channels.consumer import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncSSEConsumer,
    AsyncWebsocketConsumer,
    concurrent,
    in_thread,
)
from fast_channels.consumer.base import ConsumerApplication
from fast_channels.consumer.http import AsyncHttpConsumer as SameHttpConsumer
from fast_channels.consumer.sse import AsyncSSEConsumer as SameSSEConsumer
from fast_channels.consumer.websocket import AsyncJsonWebsocketConsumer
from fast_channels.exceptions import ChannelFull, FastChannelsError, StopConsumer
from fast_channels.layers import (
    BaseChannelLayer,
    InMemoryChannelLayer,
    RedisChannelLayer,
    RedisPubSubChannelLayer,
    channel_layers_lifespan,
    get_channel_layer,
    group_name,
    has_layers,
    register_channel_layer,
)
from fast_channels.layers.base import BaseChannelLayer as SameBaseChannelLayer
from fast_channels.layers.redis import RedisChannelLayer as SameRedisChannelLayer
from fast_channels.middleware import BaseMiddleware, OriginValidator, WebsocketDenier
from fast_channels.serializers import MessageSerializer, create_serializer
from fast_channels.testing import (
    HttpCommunicator,
    RunningApplication,
    ServerSentEvent,
    WebsocketCommunicator,
    lifespan,
)
from fast_channels.types import ASGIApp, Event, Receive, Scope, Send

assert_type(RedisChannelLayer, type[SameRedisChannelLayer])
assert_type(BaseChannelLayer, type[SameBaseChannelLayer])
assert_type(AsyncHttpConsumer, type[SameHttpConsumer])
assert_type(AsyncSSEConsumer, type[SameSSEConsumer])


class Room(AsyncJsonWebsocketConsumer):
    groups = ["everybody"]
    channel_layer_alias = "chat"

    def __init__(self, topic: str = "") -> None:
        self.topic = topic

    async def connect(self) -> None:
        assert_type(self.scope, MutableMapping[str, Any])
        assert_type(self.channel_layer, BaseChannelLayer)
        assert_type(self.channel_name, str)
        await self.channel_layer.group_add(group_name("room", self.topic), self.channel_name)
        await self.accept(subprotocol="chat", headers=[(b"x-room", b"1")])

    # The parameters of hooks may have names of the application's choice.
    async def receive_json(self, data: Any, /) -> None:
        await self.send_json({"echo": data})
        await self.channel_layer.group_send("everybody", {"type": "chat.message", "data": data})
        await self.broadcast("everybody", json=data)
        await self.broadcast("everybody", text="plain")
        await self.broadcast("everybody", bytes=b"raw")

    async def chat_message(self, event: Event) -> None:
        await self.send_json(event["data"], close=True)

    async def disconnect(self, close_code: int, /) -> None:
        await self.send(text_data=str(close_code))

    async def on_error(self, error: Exception, event: Event, /) -> None:
        await self.close(code=1011, reason=f"{event['type']}: {error}")


class Echo(AsyncWebsocketConsumer):
    async def websocket_connect(self, message: WebSocketConnectEvent) -> None:
        await super().websocket_connect(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data, close=4000)
        raise StopConsumer


def by_size(text_data: str | None = None, bytes_data: bytes | None = None) -> int:
    return len(text_data or bytes_data or "")


class SideBySide(AsyncJsonWebsocketConsumer):
    @in_thread
    def connect(self) -> None:
        async_to_sync(self.accept)()

    @concurrent(limit=4, key=lambda content: content["room"])
    async def receive_json(self, content: Any, /) -> None:
        await self.send_json(content)

    @concurrent
    async def chat_message(self, event: Event) -> None:
        await self.receive_json(event["data"])
        assert_type(await self.look_up("cats"), int)

    @concurrent
    @in_thread
    def chat_report(self, event: Event) -> None:
        async_to_sync(self.receive_json)(event["data"])

    @in_thread
    def look_up(self, topic: str) -> int:
        return len(topic)


class Frames(AsyncWebsocketConsumer):
    @concurrent(limit=2, key=by_size)
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data)

    @in_thread
    def disconnect(self, code: int, /) -> None:
        print(code)


class Health(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.send_headers(status=200, headers=[(b"content-type", b"text/plain")])
        await self.send_body(body, more_body=True)
        await self.send_body(b"")


class News(AsyncSSEConsumer):
    channel_layer_alias = "default"
    groups = ["news"]
    keep_alive_interval = None

    async def connect(self, last_event_id: str | None) -> None:
        if last_event_id == "last":
            await self.reject()
            return
        await self.accept([(b"x-version", b"1")])
        await self.send_event("text", event="greeting", id="1", retry=3000)
        await self.send_event(json={"any": ["thing"]})
        await self.broadcast_event("news", "text", event="joined")

    async def news_end(self, event: Event) -> None:
        await self.send_comment()
        await self.close()

    async def disconnect(self) -> None:
        assert_type(self.channel_name, str)


class Plain(AsyncConsumer):
    async def custom_event(self, event: Event) -> None:
        await self.base_send({"type": "custom.reply", "of": event["type"]})


class Timing(BaseMiddleware):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.inner(scope, receive, send)


assert_type(Room.as_asgi(topic="cats"), ConsumerApplication)
application: ASGIApp = Timing(OriginValidator(Room.as_asgi(), ["https://example.com"]))
denier: ASGIApp = WebsocketDenier.as_asgi()

fastapi_app = FastAPI(lifespan=channel_layers_lifespan)
fastapi_app.router.add_websocket_route("/ws/{room}", Room.as_asgi())
fastapi_app.mount("/echo", Echo.as_asgi())
starlette_app = Starlette(
    routes=[
        WebSocketRoute("/ws", Room.as_asgi()),
        Route("/health", Health.as_asgi()),
        Mount("/plain", Plain.as_asgi()),
    ],
    lifespan=channel_layers_lifespan,
)

register_channel_layer("chat", InMemoryChannelLayer(capacity=10, expiry=5))
assert_type(get_channel_layer("chat"), BaseChannelLayer)
assert_type(has_layers(), bool)
assert_type(group_name("room", "any text"), str)
assert_type(create_serializer("msgpack"), MessageSerializer)


async def outside_of_consumers() -> None:
    layer = get_channel_layer()
    assert_type(await layer.new_channel(), str)
    assert_type(await layer.receive("jobs"), dict[str, Any])
    try:
        await layer.send("jobs", {"type": "job.run", "id": 1})
    except ChannelFull as error:
        assert_type(error.channel, str)
    except FastChannelsError:
        raise
    async with channel_layers_lifespan():
        await layer.flush()


async def in_tests() -> None:
    async with WebsocketCommunicator(Room, "/ws/cats?a=1") as client:
        connected, subprotocol = await client.connect()
        assert_type(connected, bool)
        assert_type(subprotocol, str | int | None)
        await client.send_json_to({"text": "hello"})
        assert_type(await client.receive_from(), str | bytes)
        assert_type(await client.receive_nothing(), bool)
        await client.settle()
        await client.send_json({"text": "hello"})
        assert_type(await client.receive_text(), str)
        assert_type(await client.receive_bytes(), bytes)
        await client.close(1001)
    async with lifespan(Health.as_asgi()) as running:
        assert_type(running, RunningApplication)
        stream = HttpCommunicator(running, "GET", "/", query={"a": [1, 2]}, cookies={"b": "c"})
        assert_type(await stream.receive_event(), ServerSentEvent)
    response = await HttpCommunicator(Health.as_asgi(), "GET", "/health").get_response()
    assert_type(response["status"], int)
    assert_type(response["body"], bytes)


def redis_layers() -> tuple[RedisChannelLayer, RedisPubSubChannelLayer]:
    return RedisChannelLayer(hosts=["redis://127.0.0.1"]), RedisPubSubChannelLayer()


async def custom_send(message: MutableMapping[str, Any]) -> None:
    del message


sender: Send = custom_send
stopping: Awaitable[None] = WebsocketCommunicator(Echo, "/").stop()
