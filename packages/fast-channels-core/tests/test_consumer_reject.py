"""Refusing a client in connect(): what it is sent, and what it never gets."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

from fast_channels.consumer import AsyncWebsocketConsumer
from fast_channels.exceptions import ConnectionStateError
from fast_channels.layers import InMemoryChannelLayer
from fast_channels.types import Event

if TYPE_CHECKING:
    from conftest import Actor, Client, Scene, Serve

ACCEPTED: Final[Event] = {"type": "websocket.accept", "subprotocol": None, "headers": []}
DENIABLE: Final[Event] = {"extensions": {"websocket.http.response": {}}}


def rejecting(*arguments: Any, **options: Any) -> Callable[["Actor"], Any]:
    return lambda consumer: consumer.reject(*arguments, **options)


async def rejected(
    serve: "Serve", scene: "Scene", *arguments: Any, scope: Event | None = None, **options: Any
) -> list[Event]:
    client = serve(scene.app(connect=rejecting(*arguments, **options)), **(scope or Event()))
    client.give({"type": "websocket.connect"})
    return await client.ended()


async def test_the_code_comes_after_an_accept(serve: "Serve", scene: "Scene") -> None:
    assert await rejected(serve, scene, 4401, "log in first") == [
        ACCEPTED,
        {"type": "websocket.close", "code": 4401, "reason": "log in first"},
    ]
    scene.check(4401)


async def test_a_browser_wants_one_of_its_subprotocols(serve: "Serve", scene: "Scene") -> None:
    accept, close = await rejected(serve, scene, scope={"subprotocols": ["chat.v2", "chat.v1"]})
    # Without one it would fail the handshake, and see 1006.
    assert accept["subprotocol"] == "chat.v2"
    assert close["code"] == 4403


async def test_the_default_says_forbidden(serve: "Serve", scene: "Scene") -> None:
    assert await rejected(serve, scene) == [ACCEPTED, {"type": "websocket.close", "code": 4403}]
    scene.check(4403)


async def test_a_denial_is_a_response(serve: "Serve", scene: "Scene") -> None:
    sent = await rejected(
        serve, scene, 4429, mode="denial", status=429, body="sl\u00f6w down", scope=DENIABLE
    )
    assert sent == [
        {
            "type": "websocket.http.response.start",
            "status": 429,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        },
        {"type": "websocket.http.response.body", "body": "sl\u00f6w down".encode()},
    ]
    scene.check(4429)


async def test_a_denial_has_headers_of_its_own(serve: "Serve", scene: "Scene") -> None:
    headers = [(b"retry-after", b"5"), (b"content-type", b"application/json")]
    start, body = await rejected(
        serve, scene, mode="denial", status=503, body=b"{}", headers=headers, scope=DENIABLE
    )
    assert start["headers"] == headers
    assert (start["status"], body["body"]) == (503, b"{}")


@pytest.mark.parametrize("scope", [{}, {"extensions": None}, {"extensions": {"tls": {}}}])
async def test_a_server_that_knows_no_denial_answers_403(
    serve: "Serve", scene: "Scene", scope: Any
) -> None:
    sent = await rejected(serve, scene, mode="denial", status=429, scope=scope)
    # By the ASGI specification: a close before an accept.
    assert sent == [{"type": "websocket.close", "code": 4403}]
    scene.check(4403)


async def test_a_framework_that_knows_no_denial_answers_403(serve: "Serve", scene: "Scene") -> None:
    sent: list[Event] = []

    async def send(event: Any) -> None:
        # As the WebSocket of Starlette before 0.37.
        if event["type"] not in ("websocket.accept", "websocket.close"):
            raise RuntimeError(f"expected another event, got {event['type']!r}")
        sent.append(event)

    app = scene.app(connect=rejecting(mode="denial", status=429))
    client = serve(app, send=send, **DENIABLE)
    client.give({"type": "websocket.connect"})
    await client.ended()
    assert sent == [{"type": "websocket.close", "code": 4403}]
    scene.check(4403)


async def test_plain_http(serve: "Serve", scene: "Scene") -> None:
    sent = await rejected(serve, scene, mode="http", scope=DENIABLE)
    assert sent == [{"type": "websocket.close", "code": 4403}]
    scene.check(4403)


async def test_no_frame_of_a_group_gets_to_a_rejected_client(
    serve: "Serve", default_layer: InMemoryChannelLayer
) -> None:
    class Guarded(AsyncWebsocketConsumer):
        channel_layer_alias = "default"
        groups = ["secrets"]

        async def connect(self) -> None:
            await self.reject(4401)
            await self.send("late")

    sent: list[str] = []

    async def send(event: Any) -> None:
        # As from another connection, while the server writes.
        await default_layer.group_send("secrets", {"type": "websocket.send", "text": "secret"})
        sent.append(event["type"])

    client: Client = serve(Guarded, send=send)
    client.give({"type": "websocket.connect"})
    await client.ended()
    assert sent == ["websocket.accept", "websocket.close"]


async def test_a_client_that_has_gone_is_told_nothing_more(serve: "Serve", scene: "Scene") -> None:
    sent: list[str] = []

    async def send(event: Any) -> None:
        sent.append(event["type"])
        raise ConnectionResetError

    client = serve(scene.app(connect=rejecting()), send=send)
    client.give({"type": "websocket.connect"})
    await client.ended()
    assert sent == ["websocket.accept"]
    scene.check(4403)


async def test_the_first_answer_counts(serve: "Serve", scene: "Scene") -> None:
    async def connect(consumer: "Actor") -> None:
        await consumer.close(4001)
        await consumer.reject(4002)
        await consumer.accept()

    client = serve(scene.app(connect=connect))
    client.give({"type": "websocket.connect"})
    assert await client.ended() == [{"type": "websocket.close", "code": 4001}]
    scene.check(4001)


async def test_an_accepted_client_is_closed_instead(serve: "Serve", scene: "Scene") -> None:
    async def receive(consumer: "Actor") -> None:
        with pytest.raises(ConnectionStateError, match=r"after accept\(\): use close\(\)"):
            await consumer.reject()
        await consumer.close(4002)

    client = await serve.open(scene.app(receive=receive))
    client.text("go")
    assert [event["code"] for event in await client.ended()] == [4002]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": 1006}, "close code 1006 must not be sent"),
        ({"reason": "x" * 124}, "close reason takes 124 bytes"),
        ({"mode": "silence"}, r"mode is 'silence', expected one of \('close', 'denial', 'http'\)"),
        ({"status": 200}, "status is 200, expected that of an HTTP error: 400 to 599"),
        ({"status": True}, "status is True"),
    ],
)
async def test_arguments_are_checked(
    serve: "Serve", scene: "Scene", options: Any, message: str
) -> None:
    async def connect(consumer: "Actor") -> None:
        with pytest.raises(ValueError, match=message):
            await consumer.reject(**options)
        await consumer.accept()

    client = await serve.open(scene.app(connect=connect))
    assert await client.leave() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"body": {"error": "full"}}, "body must be a str or bytes, not dict"),
        ({"headers": [("retry-after", "5")]}, "must be bytes, not 'retry-after': '5'"),
    ],
)
async def test_a_response_that_no_server_takes_is_an_error_of_connect(
    serve: "Serve", scene: "Scene", options: Any, message: str
) -> None:
    async def connect(consumer: "Actor") -> None:
        with pytest.raises(TypeError, match=message):
            await consumer.reject(mode="denial", **options)
        await consumer.accept()

    client = await serve.open(scene.app(connect=connect), **DENIABLE)
    assert await client.leave() == []
