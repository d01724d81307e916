"""``python -m fast_channels.migration``: what it finds in code, and what it leaves alone."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from fast_channels.consumer import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
)
from fast_channels.migration._command import check
from fast_channels.migration._consumers import COROUTINES, NEW, PRIVATE

Check = Callable[[str], list[str]]

CHANNELS_HAS = set(
    """
    accept as_asgi channel_layer channel_layer_alias channel_name close connect decode_json
    disconnect dispatch encode_json groups handle http_disconnect http_request receive
    receive_json send send_body send_headers send_json send_response websocket_connect
    websocket_disconnect websocket_receive
    """.split()  # noqa: SIM905  # as a list it would take a page
)


@pytest.fixture
def find(tmp_path: Path) -> Check:
    """What is found in a file, as ``line kind what``, with a star for what has to change."""

    def find(source: str) -> list[str]:
        (tmp_path / "code.py").write_text(dedent(source), encoding="utf-8")
        report = check([tmp_path])
        assert report.unreadable == {}
        return [
            f"{each.line} {each.kind} {each.what}{'*' if each.required else ''}"
            for each in report.findings
        ]

    return find


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (
            "from channels.generic.websocket import AsyncWebsocketConsumer",
            ["1 django-channels channels.generic.websocket.AsyncWebsocketConsumer*"],
        ),
        (
            "import channels.layers\nlayer = channels.layers.get_channel_layer()",
            ["2 django-channels channels.layers.get_channel_layer*"],
        ),
        (
            "import channels_redis.core\nchannels_redis.core.RedisChannelLayer()",
            [
                "1 django-channels channels_redis.core*",
                "2 django-channels channels_redis.core.RedisChannelLayer*",
            ],
        ),
        (
            "from channels.generic.websocket import *",
            ["1 django-channels channels.generic.websocket*"],
        ),
        (
            "from channels_redis.core import RedisChannelLayer as Layer",
            ["1 django-channels channels_redis.core.RedisChannelLayer*"],
        ),
        (
            "from fast_channels.type_defs import ChannelScope",
            ["1 fast-channels-1.x fast_channels.type_defs.ChannelScope*"],
        ),
        (
            "from fast_channels.layers.redis.core import RedisChannelLayer",
            ["1 fast-channels-1.x fast_channels.layers.redis.core*"],
        ),
        (
            "from fast_channels.testing.websocket import WebsocketCommunicator",
            ["1 fast-channels-1.x fast_channels.testing.websocket*"],
        ),
        (
            "from fast_channels.testing import HttpCommunicator\nHttpCommunicator(app, '/path')",
            ["2 tests HttpCommunicator(…, '/path')*"],
        ),
        (
            (
                "from fast_channels.middleware import OriginValidator\n"
                "OriginValidator(application=app, allowed_origins=['*'])"
            ),
            ["2 fast-channels-1.x OriginValidator(application=…)*"],
        ),
        (
            (
                "from broadcaster import Broadcast\n"
                "broadcast = Broadcast('kafka://localhost')\n"
                "async def say(): await broadcast.publish(channel='room', message='hi')"
            ),
            [
                "1 broadcaster broadcaster.Broadcast*",
                "2 broadcaster Broadcast(kafka://…)*",
                "3 broadcaster broadcast.publish*",
            ],
        ),
        (
            (
                "import socketio\n"
                "sio = socketio.AsyncServer()\n"
                "@sio.event\n"
                "async def message(sid, data): await sio.emit('answer', data, room=sid)"
            ),
            [
                "2 python-socketio socketio.AsyncServer*",
                "3 python-socketio sio.event*",
                "4 python-socketio sio.emit*",
            ],
        ),
    ],
    ids=range(12),
)
def test_names_of_others_are_found(find: Check, source: str, found: list[str]) -> None:
    assert find(source) == found


def test_what_only_looks_like_them_is_not(find: Check) -> None:
    source = """
        from channels.models import Channel  # somebody's own application
        from channels.utils import slug
        from .channels.layers import get_channel_layer
        from . import socketio
        import channels
        from fast_channels.consumer import AsyncJsonWebsocketConsumer
        from fast_channels.layers import InMemoryChannelLayer, get_channel_layer
        from fast_channels.layers.redis import RedisChannelLayer
        from fast_channels.testing import HttpCommunicator

        socketio.AsyncServer()
        RedisChannelLayer(["redis://localhost"], lease=5, prefix="chat")
        HttpCommunicator(app, "GET", "/path")
        BACKEND = {"BACKEND": "channels_redis.core.RedisChannelLayer"}


        class Room(AsyncJsonWebsocketConsumer):
            channel_layer_alias = "default"
            limits = None

            async def connect(self):
                await self.accept()
                await self.broadcast("room", json={"type": "close"})
                await self.send_json({"type": "send"})
                await self.channel_layer.group_send("room", {"type": "room.closed"})

            async def room_closed(self, event):
                if self.scope is None or not event:
                    await self.close()

            async def on_error(self, exc, event):
                mailer.send("owner", {"type": "close"})

            async def layer_gap(self, event):
                self._body = ""
    """
    assert find(source) == []


def test_consumers_of_django_channels(find: Check) -> None:
    source = """
        from channels.generic.websocket import AsyncJsonWebsocketConsumer

        class Room(AsyncJsonWebsocketConsumer):
            limits = 5

            async def connect(self):
                self._socket = self.scope["url_route"]["kwargs"], self.scope["path"]
                await self.channel_layer.group_add("room", self.channel_name)

            async def broadcast(self, event):
                await self.send_json(event)

        class Corner(Room):
            channel_layer_alias = "other"
            async def connect(self):
                self.channel_layer = None
    """
    assert find(source)[1:] == [
        "4 no-alias Room*",
        "5 taken-name Room.limits*",
        "8 taken-name self._socket = …*",
        '8 scope self.scope["url_route"]*',
        "11 taken-name Room.broadcast*",
        "17 read-only self.channel_layer = …*",
    ]


def test_consumers_without_async(find: Check) -> None:
    source = """
        from asgiref.sync import async_to_sync
        from channels.generic.websocket import JsonWebsocketConsumer

        class Room(JsonWebsocketConsumer):
            channel_layer_alias = "default"

            def connect(self):
                async_to_sync(self.channel_layer.group_add)("room", self.channel_name)
                return self.accept()

            def receive_json(self, content):
                self.send_json({"type": "said.aloud", "text": content})
                self.said({"text": content})
                self.note(content)
                async_to_sync(self.send_json)({"type": "said"})

            def said(self, event):
                pass

            def said_aloud(self, what):
                super().disconnect(1000)

            def note(self, what):
                pass
    """
    assert find(source)[1:] == [
        "9 async-to-sync async_to_sync(self.channel_layer.group_add)",
        "13 not-awaited self.send_json(…)*",
        "14 not-awaited self.said(…)*",
        "21 unreachable Room.said_aloud*",
        "22 not-awaited super().disconnect(…)*",
    ]


def test_types_that_reach_no_handler(find: Check) -> None:
    source = """
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        async def say(layer, text):
            await layer.group_send("room", {"type": "close"})
            await layer.send("channel", {"type": "_hidden"})
            await layer.group_send("room", message={"type": "websocket.receive", "text": text})
            await layer.group_send("room", {"type": "websocket.close"})
            await mail.send("somebody", {"type": "close"})

        async_to_sync(get_channel_layer().group_send)("room", {"type": "send.json"})
    """
    assert find(source)[1:] == [
        '6 unreachable {"type": "close"}*',
        '7 unreachable {"type": "_hidden"}*',
        '8 unreachable {"type": "websocket.receive"}*',
        "12 async-to-sync async_to_sync(get_channel_layer().group_send)",
        '12 unreachable {"type": "send.json"}*',
    ]


def test_settings(find: Check) -> None:
    source = """
        CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": ["redis://localhost"], "retry_on_timeout": True},
            },
            "ours": {
                "BACKEND": "fast_channels.layers.redis.RedisChannelLayer",
                "CONFIG": {"hosts": ["redis://localhost"], "lease": 5},
            },
        }
        CHANNEL_LAYERS["rabbit"] = {"BACKEND": "channels_rabbitmq.core.RabbitmqChannelLayer"}
    """
    assert find(source) == [
        "4 layer-settings channels_redis.pubsub.RedisPubSubChannelLayer*",
        "5 layer-options retry_on_timeout*",
        "12 layer-settings channels_rabbitmq.core.RabbitmqChannelLayer*",
    ]


def test_options_of_layers(find: Check) -> None:
    source = """
        from fast_channels.layers import InMemoryChannelLayer, RedisPubSubChannelLayer
        from fast_channels.layers.redis import RedisChannelLayer

        InMemoryChannelLayer(60)
        RedisChannelLayer(["redis://localhost"], "prefix")
        RedisPubSubChannelLayer(hosts=["redis://localhost"], lease=5, **more)
    """
    assert find(source) == [
        "5 layer-options InMemoryChannelLayer(…) with positional options*",
        "6 layer-options RedisChannelLayer(…) with positional options*",
        "7 layer-options lease=*",
    ]


def test_a_layer_that_is_never_none(find: Check) -> None:
    source = """
        from fast_channels.layers import get_channel_layer

        layer = get_channel_layer("default")
        if layer is not None and other is None:
            print(layer if layer else None)
    """
    assert find(source) == [
        "5 never-none get_channel_layer() is None",
        "6 never-none get_channel_layer() is None",
    ]


def test_tests_and_own_layers(find: Check) -> None:
    source = """
        from fast_channels.layers import BaseChannelLayer, get_channel_layer
        from fast_channels.middleware import OriginValidator
        from fast_channels.testing import WebsocketCommunicator

        async def test_headers():
            client = WebsocketCommunicator(app, "ws/chat/")
            assert client.response_headers == other.response_headers
            async with WebsocketCommunicator(app, "/ws/chat/") as ada:
                ada.response_headers
            layer = get_channel_layer()
            assert layer.groups == layer.channel_capacity == message.channels

        class Mine(BaseChannelLayer):
            async def send(self, channel, message):
                pass

        class Whole(BaseChannelLayer):
            async def close_channel(self, channel):
                pass

        class Shared(BaseChannelLayer):
            option = 1

        OriginValidator(app, ["*.example.com", ".example.com", "*"])
    """
    assert find(source) == [
        "7 tests WebsocketCommunicator(…, 'ws/chat/')*",
        "8 tests client.response_headers*",
        "10 tests ada.response_headers*",
        "12 layer-inside layer.groups*",
        "14 own-layer Mine*",
        "25 origin-pattern '*.example.com'*",
    ]


def test_classes_of_the_same_name(find: Check) -> None:
    source = """
        from channels.generic.websocket import WebsocketConsumer

        def test_one():
            class TestConsumer(WebsocketConsumer):
                def connect(self):
                    self.accept()

        def test_two():
            class TestConsumer(WebsocketConsumer):
                def connect(self):
                    self.close()
    """
    assert find(source)[1:] == ["7 not-awaited self.accept(…)*", "12 not-awaited self.close(…)*"]


def names_of(*classes: type) -> set[str]:
    ours = [base for each in classes for base in each.__mro__ if "fast_channels" in base.__module__]
    return {name for base in ours for name in vars(base) if not name.startswith("__")}


def test_the_names_are_those_of_the_classes() -> None:
    everywhere = names_of(AsyncConsumer)
    websocket = names_of(AsyncWebsocketConsumer, AsyncJsonWebsocketConsumer) - everywhere
    http = names_of(AsyncHttpConsumer) - everywhere
    for kind, names in (("", everywhere), ("websocket", websocket), ("http", http)):
        private = {name for name in names if name.startswith("_")}
        hidden = {"": set[str](), "websocket": {"_socket"}, "http": {"_response"}}[kind]
        assert private | hidden == PRIVATE[kind]
        assert names - private - CHANNELS_HAS == NEW[kind]
    assert everywhere | websocket | http >= COROUTINES
