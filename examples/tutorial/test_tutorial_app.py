"""The application's tests: in one process, without a server, and without Redis."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from fast_channels.layers import get_channel_layer
from fast_channels.testing import (
    ChannelLayerOverrides,
    HttpCommunicator,
    RunningApplication,
    WebsocketClosed,
    WebsocketCommunicator,
    lifespan,
)
from main import app

PATIENCE = 20
"""Seconds; nothing takes one of them, unless the machine has much else to do."""


@pytest.fixture
async def running(channel_layers: ChannelLayerOverrides) -> AsyncGenerator[RunningApplication]:
    """The application after its start, with layers that only this test has."""
    async with lifespan(app) as running:
        yield running


def connect(running: RunningApplication, path: str) -> WebsocketCommunicator:
    return WebsocketCommunicator(running, path, timeout=PATIENCE)


async def heard(client: WebsocketCommunicator, kind: str) -> dict[str, Any]:
    """The next frame, which is of this type."""
    frame: dict[str, Any] = await client.receive_json()
    assert frame["type"] == kind, frame
    return frame


async def test_echo(running: RunningApplication) -> None:
    async with connect(running, "/ws/system") as client:
        await heard(client, "welcome")
        await client.send_json({"type": "echo", "text": "hello"})
        assert (await heard(client, "echo"))["text"] == "hello"
        await client.send_json({"type": "echo", "text": "x" * 201})
        await heard(client, "error")


async def test_room(running: RunningApplication) -> None:
    ada = connect(running, "/ws/rooms/lobby?name=Ada")
    bob = connect(running, "/ws/rooms/lobby?name=Bob")
    async with ada:
        me = (await heard(ada, "welcome"))["you"]
        async with bob:
            him = (await heard(bob, "welcome"))["you"]
            assert (await heard(ada, "joined"))["member"] == him
            assert (await heard(bob, "present"))["member"] == me

            await bob.send_json({"type": "message", "text": "Hello", "ref": "1"})
            for client in (ada, bob):
                message = await heard(client, "message")
                assert (message["member"], message["text"]) == (him, "Hello")
        assert (await heard(ada, "left"))["member"] == him


async def test_bad_name_is_refused(running: RunningApplication) -> None:
    async with connect(running, "/ws/rooms/lobby?name=") as client:
        with pytest.raises(WebsocketClosed) as closed:
            await client.receive_json()
        assert closed.value.code == 4400


async def test_job(running: RunningApplication) -> None:
    async with connect(running, "/ws/jobs") as client:
        await heard(client, "welcome")
        start = {"type": "start", "job": "report", "text": "fast channels", "ref": "1"}
        await client.send_json(start)
        job = (await heard(client, "started"))["id"]
        for done in range(1, 11):
            progress = await heard(client, "progress")
            assert (progress["id"], progress["done"]) == (job, done)
        assert (await heard(client, "finished"))["result"] == "2 words, longest 'channels'"

    async with connect(running, "/ws/jobs") as client:
        await heard(client, "welcome")
        await client.send_json({"type": "follow", "id": job})
        assert (await heard(client, "finished"))["id"] == job
        await client.send_json({"type": "follow", "id": "another"})
        await heard(client, "unknown")


async def test_notification(running: RunningApplication) -> None:
    async with connect(running, "/ws/notifications") as client:
        await heard(client, "welcome")
        body = b'{"text": "Coffee is ready", "level": "warning"}'
        headers = {"Content-Type": "application/json"}
        request = HttpCommunicator(
            running, "POST", "/notifications", body=body, headers=headers, timeout=PATIENCE
        )
        assert (await request.get_response())["status"] == 202
        notification = await heard(client, "notification")
        assert notification["text"] == "Coffee is ready"
        assert (notification["level"], notification["source"]) == ("warning", "page")


async def test_what_happens_is_counted(running: RunningApplication) -> None:
    async with (
        connect(running, "/ws/analytics") as analytics,
        connect(running, "/ws/system") as system,
    ):
        await system.send_json({"type": "echo", "text": "hello"})
        await heard(analytics, "welcome")
        while (await heard(analytics, "totals"))["counts"]["echoes"] != 1:
            pass


async def test_page_is_told_that_it_may_have_missed_something(running: RunningApplication) -> None:
    async with connect(running, "/ws/reliable?name=Ada") as client:
        await heard(client, "welcome")
        await get_channel_layer("queue").group_send("reliable", {"type": "layer.gap"})
        await heard(client, "missed")
