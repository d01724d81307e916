"""Consumers under the communicators: what the documentation shows, and what a failure shows."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fast_channels.consumer import (
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncSSEConsumer,
    AsyncWebsocketConsumer,
)
from fast_channels.exceptions import InvalidChannelLayerError
from fast_channels.layers import (
    InMemoryChannelLayer,
    get_channel_layer,
    register_channel_layer,
    unregister_channel_layer,
)
from fast_channels.testing import HttpCommunicator, WebsocketCommunicator
from fast_channels_testing import CommunicatorTimeout, WebsocketClosed


@pytest.fixture
def layer() -> Iterator[str]:
    register_channel_layer("test", InMemoryChannelLayer())
    yield "test"
    unregister_channel_layer("test")


class ChatConsumer(AsyncJsonWebsocketConsumer):
    """Says to the room what it is told."""

    channel_layer_alias = "test"
    groups = ("room",)

    async def receive_json(self, content: Any, /) -> None:
        await self.broadcast("room", json=content)


class FaultyConsumer(AsyncWebsocketConsumer):
    """Its handlers do what the frame says."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "raise":
                raise ZeroDivisionError("in the handler")
            case "hang":
                await self.hang()
            case _:
                await self.send(text_data, bytes_data)

    async def hang(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.usefixtures("layer")
async def test_the_documented_example() -> None:
    communicator = WebsocketCommunicator(ChatConsumer, "/ws/chat/")
    connected, subprotocol = await communicator.connect()
    assert connected
    assert subprotocol is None
    await communicator.send_json_to({"message": "hello world"})
    response = await communicator.receive_json_from()
    assert response == {"message": "hello world"}
    await communicator.disconnect()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("layer")
async def test_two_clients_of_one_room() -> None:
    async with (
        WebsocketCommunicator(ChatConsumer, "/") as ada,
        WebsocketCommunicator(ChatConsumer.as_asgi(), "/") as bob,
    ):
        await ada.connect()
        await bob.connect()
        await ada.send_json_to("hello")
        assert await bob.receive_json_from() == "hello"
        assert await ada.receive_json_from() == "hello"


async def test_an_error_in_a_handler_reaches_the_wait_for_its_answer() -> None:
    communicator = WebsocketCommunicator(FaultyConsumer, "/")
    await communicator.connect()
    await communicator.send_to("raise")
    with pytest.raises(ZeroDivisionError, match="in the handler") as caught:
        await communicator.receive_from()
    assert "receive" in [entry.name for entry in caught.traceback]
    # Told once; what is left is what a client sees.
    with pytest.raises(WebsocketClosed) as closed:
        await communicator.receive_from()
    assert closed.value.code == 1011
    await communicator.disconnect()


async def test_an_error_in_a_handler_surfaces_at_the_end_at_the_latest() -> None:
    with pytest.raises(ZeroDivisionError, match="in the handler"):
        async with WebsocketCommunicator(FaultyConsumer, "/") as communicator:
            await communicator.connect()
            await communicator.send_to("raise")


async def test_what_a_client_sees_of_an_error_in_a_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WebsocketCommunicator(
        FaultyConsumer, "/", raise_app_exceptions=False
    ) as communicator:
        await communicator.connect()
        await communicator.send_to("raise")
        with pytest.raises(WebsocketClosed, match="internal error") as caught:
            await communicator.receive_from()
    assert caught.value.code == 1011
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_timeout_names_the_line_of_the_handler() -> None:
    communicator = WebsocketCommunicator(FaultyConsumer, "/")
    await communicator.connect()
    await communicator.send_to("hang")
    with pytest.raises(
        CommunicatorTimeout,
        match=r"-> websocket.receive text='hang'\n(.*\n)+"
        r"  FaultyConsumer: .*test_consumers\.py:\d+ in FaultyConsumer\.receive -> "
        r"\S*test_consumers\.py:\d+ in FaultyConsumer\.hang -> asyncio/locks\.py",
    ):
        await communicator.receive_from(timeout=0.01)
    await communicator.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_consumer_whose_layer_is_missing_fails_the_connect() -> None:
    communicator = WebsocketCommunicator(ChatConsumer, "/")
    with pytest.raises(InvalidChannelLayerError, match="test"):
        await communicator.connect()


async def test_a_client_that_leaves_before_its_answer_is_no_error() -> None:
    async with WebsocketCommunicator(FaultyConsumer, "/") as communicator:
        await communicator.connect()
        await communicator.send_to("an answer to this finds nobody")


async def test_many_clients_leave_nothing_behind() -> None:
    async def chat(number: int) -> None:
        async with WebsocketCommunicator(FaultyConsumer, "/") as communicator:
            await communicator.connect()
            await communicator.send_to(str(number))
            assert await communicator.receive_from(timeout=30) == str(number)

    await asyncio.gather(*(chat(number) for number in range(200)))
    assert asyncio.all_tasks() == {asyncio.current_task()}


class ItemConsumer(AsyncHttpConsumer):
    """Answers with what it was sent, or breaks."""

    async def handle(self, body: bytes) -> None:
        if body == b"raise":
            raise ZeroDivisionError("in the handler")
        await self.send_headers(headers=[(b"content-type", b"text/plain")])
        await self.send_body(body, more_body=True)
        await self.send_body(b"!")


async def test_an_http_consumer() -> None:
    response = await HttpCommunicator(ItemConsumer, "POST", "/", b"hello").get_response()
    assert response == {
        "status": 200,
        "headers": [(b"content-type", b"text/plain")],
        "body": b"hello!",
    }


async def test_an_error_in_an_http_consumer() -> None:
    with pytest.raises(ZeroDivisionError, match="in the handler"):
        await HttpCommunicator(ItemConsumer, "POST", "/", b"raise").get_response()
    communicator = HttpCommunicator(ItemConsumer, "POST", "/", b"raise", raise_app_exceptions=False)
    assert (await communicator.get_response())["status"] == 500


class NewsConsumer(AsyncSSEConsumer):
    """Repeats what a client has missed, then streams a group; breaks if it is told to."""

    channel_layer_alias = "test"
    groups = ["news"]

    async def connect(self, last_event_id: str | None) -> None:
        if last_event_id is not None:
            await self.send_event("missed", id=f"{last_event_id}+1")

    async def fail(self, event: dict[str, Any]) -> None:
        raise ZeroDivisionError("in the stream")


@pytest.mark.usefixtures("layer")
async def test_event_streams() -> None:
    again = {"Last-Event-ID": "7"}
    async with (
        HttpCommunicator(NewsConsumer, "GET", "/") as ada,
        HttpCommunicator(NewsConsumer, "GET", "/", headers=again) as bob,
    ):
        for client in (ada, bob):
            start = await client.get_response_start()
            assert start["status"] == 200
            assert (b"content-type", b"text/event-stream") in start["headers"]
        assert await bob.receive_body_chunk() == b"id: 7+1\ndata: missed\n\n"
        layer = get_channel_layer("test")
        await layer.group_send("news", {"type": "sse.event", "data": "live"})
        for client in (ada, bob):
            assert await client.receive_body_chunk() == b"data: live\n\n"
        await bob.disconnect()
        await layer.group_send("news", {"type": "sse.event", "data": "later"})
        assert await ada.receive_body_chunk() == b"data: later\n\n"
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.usefixtures("layer")
async def test_an_error_in_an_event_stream() -> None:
    client = HttpCommunicator(NewsConsumer, "GET", "/", raise_app_exceptions=False)
    assert (await client.get_response_start())["status"] == 200
    await get_channel_layer("test").group_send("news", {"type": "fail"})
    assert (await client.get_response())["body"] == b""


class RejectingConsumer(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        mode: Any = self.scope["path"].strip("/")
        await self.reject(4401, "log in", mode=mode, status=401, body="who are you?")


async def test_a_rejection_whose_code_a_browser_sees() -> None:
    async with WebsocketCommunicator(
        RejectingConsumer, "/close", subprotocols=["chat.v1"]
    ) as communicator:
        assert await communicator.connect() == (True, "chat.v1")
        with pytest.raises(WebsocketClosed) as caught:
            await communicator.receive_from()
        assert (caught.value.code, caught.value.reason) == (4401, "log in")


@pytest.mark.parametrize(
    ("mode", "status", "body"), [("denial", 401, b"who are you?"), ("http", 403, b"")]
)
async def test_a_rejection_of_the_handshake(mode: str, status: int, body: bytes) -> None:
    async with WebsocketCommunicator(RejectingConsumer, f"/{mode}") as communicator:
        assert await communicator.connect() == (False, 1006)
        response = communicator.handshake_response
        assert response is not None
        assert (response["status"], response["body"]) == (status, body)
