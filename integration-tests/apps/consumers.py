"""The consumers that every server and framework has to serve alike."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from reporting import report

from fast_channels.consumer import (
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
)
from fast_channels.exceptions import AcceptConnection, ChannelClosed, DenyConnection
from fast_channels.layers import get_channel_layer, group_name
from fast_channels.statistics import statistics
from fast_channels.types import Scope

released: dict[str, asyncio.Event] = {}
"""By client: what lets a busy handler end."""


def query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode()))


class Chat(AsyncJsonWebsocketConsumer):
    """A room, by path; ``?name=`` says who comes."""

    channel_layer_alias = "default"

    async def connect(self) -> None:
        self.name = query(self.scope).get("name", "nobody")
        self.group = group_name("room", self.scope["path_params"]["room"])
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send_json({"welcome": self.name, "room": self.scope["path_params"]["room"]})
        await self.channel_layer.group_send(self.group, {"type": "chat.joined", "name": self.name})

    async def receive_json(self, content: Any, /) -> None:
        match content:
            case {"say": str(text)}:
                event = {"type": "chat.message", "name": self.name, "text": text}
                await self.channel_layer.group_send(self.group, event)
            case {"shout": str(text)}:
                await self.broadcast(self.group, json={"shout": text, "name": self.name})
            case {"leave": True}:
                await self.channel_layer.group_discard(self.group, self.channel_name)
                await self.send_json({"left": self.group})
            case _:
                await self.send_json({"echo": content})

    async def disconnect(self, code: int, /) -> None:
        report("disconnect", id=self.name, code=code)
        await self.channel_layer.group_send(self.group, {"type": "chat.parted", "name": self.name})

    async def chat_joined(self, event: dict[str, Any]) -> None:
        await self.send_json({"joined": event["name"]})

    async def chat_parted(self, event: dict[str, Any]) -> None:
        await self.send_json({"parted": event["name"]})

    async def chat_message(self, event: dict[str, Any]) -> None:
        await self.send_json({"name": event["name"], "said": event["text"]})


class Echo(AsyncWebsocketConsumer):
    """Sends back what comes, as it comes. It needs no layer."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Described(AsyncJsonWebsocketConsumer):
    """Says what the server made of the handshake, and picks the last subprotocol."""

    async def connect(self) -> None:
        offered = list(self.scope["subprotocols"])
        await self.accept(
            subprotocol=offered[-1] if offered else None, headers=[(b"x-served-by", b"described")]
        )
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in self.scope["headers"]
            if name.startswith((b"x-", b"user-agent"))
        }
        await self.send_json(
            {
                "type": self.scope["type"],
                "path": self.scope["path"],
                "query": query(self.scope),
                "path_params": dict(self.scope.get("path_params", {})),
                "subprotocols": offered,
                "cookies": self.scope["cookies"],
                "headers": headers,
            }
        )


class Ending(AsyncWebsocketConsumer):
    """Ends in every way there is, and reports what it sees of it.

    ``?id=`` names the client in reports, ``?connect=`` says how to answer the handshake; after
    that each text frame is a command.
    """

    channel_layer_alias = "default"
    groups = ["endings"]

    disconnects = 0

    @property
    def id(self) -> str:
        return query(self.scope)["id"]

    async def connect(self) -> None:
        match query(self.scope).get("connect", "accept"):
            case "accept and raise":
                await self.accept()
                raise LookupError("in connect")
            case "reject":
                await self.close(4403)
            case "deny":
                raise DenyConnection
            case "accept by raising":
                raise AcceptConnection
            case "busy":
                await self.be_busy()
                await self.accept()
                await self.send("nobody hears this")
            case _:
                await self.accept()
        report("connected", id=self.id)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        command, _, argument = (text_data or "").partition(" ")
        match command:
            case "close":
                await self.close(int(argument) if argument else None, "as you wish")
            case "close_true":
                await self.close(True)
            case "last":
                await self.send("last words", close=True)
            case "raise":
                raise LookupError("in receive")
            case "raise_in_handler":
                await self.channel_layer.send(self.channel_name, {"type": "faulty.handler"})
            case "unknown_event":
                await self.channel_layer.send(self.channel_name, {"type": "nobody.knows"})
            case "closed_by_layer":
                event = {"type": "websocket.close", "code": 4009, "reason": "by the layer"}
                await self.channel_layer.send(self.channel_name, event)
            case "busy":
                await self.be_busy()
                await self.talk()
            case "raise_when_left":
                await self.be_busy()
                raise LookupError("after the client has left")
            case "close_soon":
                # Its turn comes behind what others have sent to the group meanwhile.
                await self.channel_layer.send(self.channel_name, {"type": "time.to.go"})
            case _:
                await self.send(text_data)

    async def be_busy(self) -> None:
        released[self.id] = asyncio.Event()
        report("busy", id=self.id)
        try:
            await released[self.id].wait()
        except asyncio.CancelledError:
            report("cancelled", id=self.id)
            raise
        finally:
            del released[self.id]

    async def talk(self) -> None:
        for _ in range(3):
            await self.send("nobody hears this")
            # Some servers notice only by a write, and a step of the loop later.
            await asyncio.sleep(0)
            await self.send(bytes_data=b"nor this")

    async def faulty_handler(self, event: dict[str, Any]) -> None:
        raise LookupError("in a handler")

    async def time_to_go(self, event: dict[str, Any]) -> None:
        await self.close(4005)

    async def chatter(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int, /) -> None:
        self.disconnects += 1
        report(
            "disconnect",
            id=self.id,
            code=code,
            times=self.disconnects,
            channel_closed=await self._channel_is_closed(),
            in_group=await self._is_in_group(),
        )
        # The client is gone, and so nothing of this may be an error.
        await self.send("too late")
        await self.close(4004)

    async def _channel_is_closed(self) -> bool:
        try:
            async with asyncio.timeout(1):
                await self.channel_layer.receive(self.channel_name)
        except ChannelClosed:
            return True
        except TimeoutError:
            pass
        return False

    async def _is_in_group(self) -> bool:
        """Whether a message to the group meets this channel, which takes none any more."""
        before = statistics.snapshot().get("event.full", 0)
        await self.channel_layer.group_send("endings", {"type": "websocket.send", "text": "bye"})
        return statistics.snapshot().get("event.full", 0) != before


class Misconfigured(AsyncWebsocketConsumer):
    """Names a layer that nobody registered."""

    channel_layer_alias = "no-such-layer"


class Mirror(AsyncHttpConsumer):
    """Says what came in the request."""

    async def handle(self, body: bytes) -> None:
        answer = {
            "method": self.scope["method"],
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "cookies": self.scope["cookies"],
        }
        await self.send_response(
            201, json.dumps(answer).encode(), headers=[(b"content-type", b"application/json")]
        )

    async def disconnect(self) -> None:
        report("http disconnect", id=query(self.scope).get("id"))


class Stream(AsyncHttpConsumer):
    """Streams what is sent to the group ``?group=``, until the message that says it is the last."""

    channel_layer_alias = "default"

    disconnects = 0

    async def handle(self, body: bytes) -> None:
        await self.channel_layer.group_add(query(self.scope)["group"], self.channel_name)
        await self.send_headers(headers={b"content-type": b"text/event-stream"})
        await self.send_body(b"data: start\n\n", more_body=True)

    async def stream_part(self, event: dict[str, Any]) -> None:
        await self.send_body(b"data: %b\n\n" % event["text"].encode(), more_body=True)

    async def stream_end(self, event: dict[str, Any]) -> None:
        await self.send_body(b"data: end\n\n")

    async def stream_fault(self, event: dict[str, Any]) -> None:
        raise LookupError("in the middle of a stream")

    async def disconnect(self) -> None:
        self.disconnects += 1
        report("http disconnect", id=query(self.scope)["id"], times=self.disconnects)


class Faulty(AsyncHttpConsumer):
    """Raises before it has answered anything."""

    async def handle(self, body: bytes) -> None:
        raise LookupError("before the headers")

    async def disconnect(self) -> None:
        report("http disconnect", id=query(self.scope).get("id"))


class Control(AsyncHttpConsumer):
    """What the test tells the application: ``release`` a busy handler, ``send`` to a group."""

    async def handle(self, body: bytes) -> None:
        order: Mapping[str, Any] = json.loads(body) if body else {}
        if "release" in order:
            released[order["release"]].set()
        for _ in range(order.get("times", 1) if "send" in order else 0):
            await get_channel_layer().group_send(order["send"], order["message"])
        await self.send_response(200, json.dumps(statistics.snapshot()).encode())
