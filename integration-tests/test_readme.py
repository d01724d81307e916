"""README.md does as it is told: its examples are served and used, word for word."""

import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from clients import closed_with, heard, open_websocket, say
from redis_servers import RedisServer
from redis_servers.fixtures import TrioFactory
from serving import DEADLINE, Server, free_port

from fast_channels.layers import get_channel_layer, group_name, unregister_channel_layer
from fast_channels.layers.redis import RedisPubSubChannelLayer

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def the_only(found: list[str], what: str) -> str:
    assert len(found) == 1, f"README.md has {len(found)} of: {what}"
    return found[0]


def commands() -> list[str]:
    return [
        line for kind, block in BLOCKS if kind in ("", "sh", "bash") for line in block.splitlines()
    ]


def file(name: str) -> str:
    """The code that README.md gives for it."""
    start = f"# {name}\n"
    return the_only([block for _, block in BLOCKS if block.startswith(start)], name)


def chat_path() -> str:
    return the_only(re.findall(r"`ws://127\.0\.0\.1:8000(/\S+)`", README), "`ws://…`")


def test_both_commands_are_there() -> None:
    for session in ("demo", "tests"):
        assert f"python -m pip install nox && python -m nox -s {session}" in commands()


def test_example_is_a_chat(tmp_path: Path) -> None:
    code = next(block for kind, block in BLOCKS if kind == "python" and "FastAPI(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "app.py").write_text(code)
    command = the_only(
        [line for line in commands() if line.startswith("uvicorn app:")], "uvicorn …"
    )

    port = free_port()
    with (
        Server([*command.split(), "--port", str(port)], port, tmp_path, ready="/") as server,
        open_websocket(server, chat_path()) as ada,
        open_websocket(server, chat_path()) as bob,
    ):
        with open_websocket(server, f"{chat_path()}-next-door") as eve:
            say(ada, "hello")
            assert heard(ada) == heard(bob) == {"text": "hello"}
            say(bob, "hello, too")
            assert heard(ada) == heard(bob) == {"text": "hello, too"}
            say(eve, "anybody?")
            assert heard(eve) == {"text": "anybody?"}
        say(ada, "last words")
        assert heard(ada) == heard(bob) == {"text": "last words"}
        server.stop()
        assert not re.search("warning|error|traceback", server.output(), re.IGNORECASE)


def test_name_of_the_room_is_the_one_in_the_text() -> None:
    sent_to = the_only(re.findall(r'get_channel_layer\(\)\.group_send\("([^"]+)"', README), "sends")
    assert sent_to == group_name("room", chat_path().rpartition("/")[2])


def test_four_layers_on_redis_serve_several_processes(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    for name in ("layers.py", "main.py", "report.py"):
        (tmp_path / name).write_text(file(name))
    command = the_only([line for line in commands() if line.startswith("uvicorn main:")], "main:")
    assert command.endswith("--workers 4")

    port = free_port()
    with (
        Server([*command.split(), "--port", str(port)], port, tmp_path, ready="/docs") as server,
        ExitStack() as stack,
    ):
        chats = [stack.enter_context(open_websocket(server, "/chat")) for _ in range(20)]
        orders = [stack.enter_context(open_websocket(server, "/orders")) for _ in range(20)]
        for client in chats:
            client.send("hello")
        for client in chats:
            assert [client.recv(timeout=DEADLINE) for _ in chats] == ["hello"] * len(chats)
        for number in range(3):
            assert server.request("POST", f"/orders/{number}")[0].status == 200
        for client in orders:
            told = [client.recv(timeout=DEADLINE) for _ in range(3)]
            assert told == ["order 0", "order 1", "order 2"]
        subprocess.run([sys.executable, "report.py"], cwd=tmp_path, check=True, timeout=DEADLINE)
        for client in chats:
            assert client.recv(timeout=DEADLINE) == "The report is ready"
        server.stop()
        assert not re.search("warning|error|traceback", server.output(), re.IGNORECASE)


def test_board_takes_leave_of_its_clients(tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text(file("board.py"))
    port = free_port()
    command = ["uvicorn", "board:app", "--port", str(port), "--log-level", "warning"]
    with (
        Server(command, port, tmp_path, ready="/docs") as server,
        open_websocket(server, "/board") as client,
    ):
        client.send("no JSON")
        assert heard(client)["type"] == "error"
        assert server.stop() == 0
        closed = closed_with(client)
        assert closed.code == 1012
        assert 0 <= json.loads(closed.reason)["retry_after"] <= 5
        assert server.output() == ""


async def test_sentinel_tells_where_the_primary_is(own_trio: TrioFactory, tmp_path: Path) -> None:
    code = file("sentinel.py")
    name, sentinel_password, password = (
        the_only(re.findall(pattern, code), pattern)
        for pattern in (
            r'service_name="(\w+)"',
            r'sentinel_kwargs={"password": "(\w+)"}',
            r'connection_kwargs={"password": "(\w+)"}',
        )
    )
    trio = own_trio(name=name, password=password, sentinel_password=sentinel_password)
    assert "26379" in code
    script = tmp_path / "sentinel.py"
    script.write_text(code.replace("26379", str(trio.sentinels[0].port)))
    runpy.run_path(str(script))
    try:
        layer = get_channel_layer("ha_queue")
        channel = await layer.new_channel()
        await layer.group_add("lobby", channel)
        await layer.group_send("lobby", {"type": "chat.message", "text": "hello"})
        assert await layer.receive(channel) == {"type": "chat.message", "text": "hello"}
        await layer.close()
    finally:
        unregister_channel_layer("ha_queue")


async def test_layer_of_a_django_project_reaches_ours(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    code = file("settings.py")
    url = the_only(re.findall(r"redis://[\w:]+", code), "URL")
    prefix = the_only(re.findall(r'"prefix": "(\w+)"', code), "prefix")
    (tmp_path / "settings.py").write_text(code.replace(url, redis_server.url))
    layer = RedisPubSubChannelLayer(hosts=[redis_server.url], prefix=prefix)
    channel = await layer.new_channel()
    await layer.group_add("lobby", channel)
    view = """
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

async_to_sync(get_channel_layer().group_send)("lobby", {"type": "chat.message", "text": "hello"})
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", view),
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings"},
    )
    assert await process.wait() == 0
    async with asyncio.timeout(DEADLINE):
        assert await layer.receive(channel) == {"type": "chat.message", "text": "hello"}
    await layer.close()
