"""Communicators under each runner of asynchronous tests: small projects, run as their users do.

Every warning is an error there, also those of objects that are dropped and those of asyncio's
debug mode.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

# What all of them test. A shared connection and a shared application live as long as the event
# loop of their fixtures.
APPLICATION = """
import contextlib
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from fast_channels.consumer import AsyncJsonWebsocketConsumer
from fast_channels.layers import InMemoryChannelLayer, get_channel_layer, register_channel_layer
from fast_channels.testing import CommunicatorTimeout, WebsocketCommunicator, lifespan

register_channel_layer("chat", InMemoryChannelLayer())
log = []


class Chat(AsyncJsonWebsocketConsumer):
    channel_layer_alias = "chat"
    groups = ["room"]

    async def receive_json(self, content: Any, /) -> None:
        await self.channel_layer.group_send("room", {"type": "said", "text": content})

    async def said(self, event):
        await self.send_json([self.scope["state"]["greeting"], event["text"]])


@contextlib.asynccontextmanager
async def life(app):
    log.append("startup")
    yield {"greeting": "hello"}
    log.append("shutdown")


app = Starlette(routes=[WebSocketRoute("/ws", Chat.as_asgi())], lifespan=life)


@contextlib.asynccontextmanager
async def connected():
    async with lifespan(app) as running, WebsocketCommunicator(running, "/ws") as ws:
        yield ws


async def chat(ws):
    await ws.send_json("a")
    await ws.settle(20)
    assert await ws.receive_json(0) == ["hello", "a"]
    await get_channel_layer("chat").group_send("room", {"type": "said", "text": "b"})
    assert await ws.receive_json(20) == ["hello", "b"]
    try:
        await ws.receive_json(0.001)
    except CommunicatorTimeout as timeout:
        assert "<- websocket.send" in str(timeout)
    else:
        raise AssertionError("nothing was sent")
    assert await ws.receive_nothing(0)


async def chat_of_two():
    async with connected() as ada, connected() as bob:
        await ada.send_json("a")
        await bob.settle(20)
        assert await ada.receive_json(0) == await bob.receive_json(0)
"""

PYTEST_ASYNCIO = """
import pytest
import pytest_asyncio
from application import chat, chat_of_two, connected, log

SCOPES = ["function", "class", "module", "package", "session"]


def make_fixture(scope):
    @pytest_asyncio.fixture(scope=scope, loop_scope=scope, name=f"ws_of_{scope}")
    async def fixture():
        async with connected() as ws:
            yield ws

    return fixture


def make_class(scope):
    class TestShared:
        @pytest.mark.asyncio(loop_scope=scope)
        async def test_first(self, request, ws):
            await chat(ws)

        @pytest.mark.asyncio(loop_scope=scope)
        async def test_again(self, ws):
            await chat(ws)

        @pytest.mark.asyncio(loop_scope=scope)
        async def test_of_its_own(self):
            await chat_of_two()

        @pytest.fixture
        def ws(self, request):
            return request.getfixturevalue(f"ws_of_{scope}")

    return TestShared


for scope in SCOPES:
    globals()[f"ws_of_{scope}"] = make_fixture(scope)
    globals()[f"Test{scope.title()}"] = make_class(scope)
"""

PYTEST_ASYNCIO_AUTO = """
import pytest
from application import chat, chat_of_two, connected
from fast_channels.testing import CommunicatorTimeout


@pytest.fixture
async def ws(channel_layers):
    async with connected() as ws:
        yield ws


async def test_first(ws):
    await chat(ws)


async def test_again(ws, assert_sent):
    await chat(ws)
    assert_sent("room", type="said", text="b")


async def test_of_its_own(channel_layers):
    await chat_of_two()


class TestClass:
    async def test_in_a_class(self, ws):
        await chat(ws)
"""

ANYIO = """
import pytest
from application import chat, chat_of_two, connected, lifespan, app

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(anyio_backend):
    async with connected() as ws:
        yield ws


@pytest.fixture
async def ws(channel_layers):
    async with connected() as ws:
        yield ws


async def test_first(ws):
    await chat(ws)


async def test_again(ws, assert_sent):
    await chat(ws)
    assert_sent("room", type="said", text="b")


async def test_shared(shared):
    await chat(shared)


async def test_shared_again(shared):
    await chat(shared)


async def test_of_its_own():
    await chat_of_two()
"""

UNITTEST = """
import unittest

from application import chat, chat_of_two, connected


class ChatTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.ws = await self.enterAsyncContext(connected())

    async def test_first(self):
        await chat(self.ws)

    async def test_again(self):
        await chat(self.ws)

    async def test_of_its_own(self):
        await chat_of_two()
"""

# Each connection that was opened is closed, and so is the loop, before the interpreter ends.
CONFTEST = """
def pytest_unconfigure():
    from application import log

    assert log
    assert log.count("startup") == log.count("shutdown")
"""

COMMAND = [sys.executable, "-W", "error", "-X", "dev", "-m"]


def run(project: Path, tests: str, *arguments: str) -> str:
    """Run a project; its output, if it has succeeded."""
    (project / "application.py").write_text(APPLICATION)
    (project / "conftest.py").write_text(CONFTEST)
    (project / "test_chat.py").write_text(tests)
    ran = subprocess.run(
        [*COMMAND, *arguments],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stdout
    assert "warning" not in ran.stdout.lower()
    return ran.stdout


def passed(output: str) -> int:
    (number,) = re.findall(r"^(\d+) passed in", output, re.MULTILINE)
    return int(number)


PYTEST = ("pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
ASYNCIO = ("-p", "no:anyio", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_pytest_asyncio_with_all_loop_scopes(tmp_path: Path, mode: str) -> None:
    output = run(tmp_path, PYTEST_ASYNCIO, *PYTEST, *ASYNCIO, f"--asyncio-mode={mode}")
    assert passed(output) == 15


def test_pytest_asyncio_in_auto_mode_with_the_fixtures(tmp_path: Path) -> None:
    output = run(tmp_path, PYTEST_ASYNCIO_AUTO, *PYTEST, *ASYNCIO, "--asyncio-mode=auto")
    assert passed(output) == 4


def test_anyio(tmp_path: Path) -> None:
    assert passed(run(tmp_path, ANYIO, *PYTEST, "-p", "no:asyncio")) == 5


def test_unittest(tmp_path: Path) -> None:
    assert re.search(r"^Ran 3 tests", run(tmp_path, UNITTEST, "unittest"), re.MULTILINE)


def test_unittest_run_by_pytest(tmp_path: Path) -> None:
    assert passed(run(tmp_path, UNITTEST, *PYTEST, "-p", "no:asyncio", "-p", "no:anyio")) == 3
