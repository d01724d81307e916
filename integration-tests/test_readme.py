"""README.md does as it is told, and so do others: their examples are used, word for word."""

import asyncio
import os
import re
import runpy
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from clients import heard, open_websocket, say
from markdown_blocks import blocks
from redis_servers import RedisServer
from redis_servers.fixtures import TrioFactory
from serving import DEADLINE, Server, free_port
from tutorial_steps import files_after, steps_of

from fast_channels.layers import get_channel_layer, group_name, unregister_channel_layer
from fast_channels.layers.redis import RedisPubSubChannelLayer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ADDRESS = "redis://localhost:6379"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def the_only(found: list[str], what: str) -> str:
    assert len(found) == 1, f"README.md has {len(found)} of: {what}"
    return found[0]


def commands() -> list[str]:
    return [
        line for kind, block in BLOCKS if kind in ("", "sh", "bash") for line in block.splitlines()
    ]


def file(name: str, page: Path) -> str:
    """The code that a page gives for it."""
    start = f"# {name}\n"
    return the_only([each for each in blocks(page, "python") if each.startswith(start)], name)


def chat_path() -> str:
    return the_only(re.findall(r"`ws://127\.0\.0\.1:8000(/\S+)`", README), "`ws://…`")


def test_both_commands_are_there() -> None:
    for session in ("demo", "tests"):
        assert f"python -m pip install nox && python -m nox -s {session}" in commands()


def test_first_page_of_the_documentation_has_the_same_example() -> None:
    assert file("app.py", ROOT / "docs" / "index.md") == file("app.py", ROOT / "README.md")


def test_example_is_a_chat(tmp_path: Path) -> None:
    code = next(block for kind, block in BLOCKS if kind == "python" and "FastAPI(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    (tmp_path / "app.py").write_text(code)
    command = "uvicorn app:app"
    assert command in commands()

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


def test_chat_on_redis_serves_several_processes(redis_server: RedisServer, tmp_path: Path) -> None:
    for name, text in files_after(steps_of(README), {}).items():
        assert ADDRESS in text
        (tmp_path / name).write_text(text.replace(ADDRESS, redis_server.url))
    command = the_only([line for line in commands() if "--workers" in line], "workers")
    assert command.endswith(" --workers 4")

    port = free_port()
    with (
        Server([*command.split(), "--port", str(port)], port, tmp_path, ready="/docs") as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(open_websocket(server, chat_path())) for _ in range(20)]
        for client in clients:
            say(client, "hello")
        for client in clients:
            assert [heard(client) for _ in clients] == [{"text": "hello"}] * len(clients)
        subprocess.run([sys.executable, "report.py"], cwd=tmp_path, check=True, timeout=DEADLINE)
        for client in clients:
            assert heard(client) == {"text": "The report is ready"}
        server.stop()
        assert not re.search("warning|error|traceback", server.output(), re.IGNORECASE)


async def test_sentinel_tells_where_the_primary_is(own_trio: TrioFactory, tmp_path: Path) -> None:
    code = file("sentinel.py", ROOT / "packages" / "fast-channels-redis" / "README.md")
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
    code = file("settings.py", ROOT / "docs" / "migration" / "django-channels.md")
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
