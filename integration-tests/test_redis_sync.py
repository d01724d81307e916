"""Code without an event loop sends over Redis: threads, forks, and workers of RQ."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest
from clients import heard, open_websocket
from redis import Redis
from redis_servers import RedisServer
from rq import Queue
from serving import APPS, DEADLINE, running

from fast_channels.layers import BrokerChannelLayer
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer

LAYERS = (RedisChannelLayer, RedisPubSubChannelLayer)
CALLS = 10_000

FEW = 5
"""Connections of one process: two while it sends, and the queue's to take leave in the end."""


@pytest.fixture(params=LAYERS)
def layer(
    request: pytest.FixtureRequest, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> BrokerChannelLayer:
    """A layer that programs of ``apps/`` will have, too."""
    config = {"hosts": [redis_server.url], "prefix": token_hex(4), "send_timeout": DEADLINE}
    monkeypatch.setenv("LAYER", f"fast_channels.layers.redis.{request.param.__name__}")
    monkeypatch.setenv("LAYER_CONFIG", json.dumps(config))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, (str(APPS), os.environ.get("PYTHONPATH"))))
    )
    made: BrokerChannelLayer = request.param(**config, capacity=2 * CALLS)
    return made


def program(*command: str) -> list[str]:
    return [sys.executable, "-X", "dev", "-W", "error", str(APPS / command[0]), *command[1:]]


async def received(layer: BrokerChannelLayer, how: str, count: int) -> str:
    """Run ``sync_calls.py``; what it printed, once every number has come, and come once."""
    channel = await layer.new_channel()
    await layer.group_add("room", channel)
    process = await asyncio.create_subprocess_exec(
        *program("sync_calls.py", how, "0", str(count)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    async with asyncio.timeout(DEADLINE):
        numbers = [(await layer.receive(channel))["number"] for _ in range(count)]
    assert sorted(numbers) == list(range(count))
    await layer.close()
    return output.decode()


def connections_made(server: RedisServer) -> int:
    """Since the last call, but for those of the server's fixture."""
    made = int(server.info("stats")["total_connections_received"])
    server.execute("CONFIG", "RESETSTAT")
    return made - 1


@pytest.mark.parametrize("how", ["async_to_sync", "sync-layer"])
async def test_calls_from_many_threads_share_a_connection(
    layer: BrokerChannelLayer, redis_server: RedisServer, how: str
) -> None:
    # Each makes an event loop: in Python's development mode as many would take half a minute.
    count = CALLS // 10 if how == "async_to_sync" else CALLS
    connections_made(redis_server)
    assert await received(layer, how, count) == ""
    # Its own two, and those of this process.
    assert connections_made(redis_server) <= 2 * FEW
    clients = redis_server.execute("CLIENT", "LIST").splitlines()
    assert len(clients) == 1, clients


def test_program_that_has_ended_is_gone(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once and not at the end of its lease, also if the server's name has to be looked up."""
    prefix = token_hex(4)
    config = {"hosts": [f"redis://localhost:{redis_server.port}"], "prefix": prefix}
    monkeypatch.setenv("LAYER", "fast_channels.layers.redis.RedisChannelLayer")
    monkeypatch.setenv("LAYER_CONFIG", json.dumps({**config, "send_timeout": DEADLINE}))
    with redis_server.counting() as counts:
        subprocess.run(program("sync_calls.py", "sync-layer", "0", "1"), check=True, timeout=60)
    assert counts["zrem"] == 1
    assert redis_server.execute("KEYS", f"{prefix}:*") == []


@pytest.mark.parametrize("how", ["os.fork", "fork", "forkserver", "spawn"])
async def test_processes_send_beside_each_other(
    layer: BrokerChannelLayer, redis_server: RedisServer, how: str
) -> None:
    connections_made(redis_server)
    assert await received(layer, how, 300) == ""
    assert connections_made(redis_server) <= 4 * FEW


@pytest.mark.parametrize("worker", ["SimpleWorker", "Worker"])
def test_job_of_rq_reaches_a_websocket(
    layer: BrokerChannelLayer, redis_server: RedisServer, worker: str, tmp_path: Path
) -> None:
    texts = [f"job {number} is done" for number in range(5)]
    with (
        running("uvicorn-sansio", "with_redis:app", tmp_path, ready="/docs") as server,
        open_websocket(server, "/room/lobby") as ada,
    ):
        heard(ada)
        with Redis(redis_server.host, redis_server.port) as connection:
            queue = Queue(connection=connection)
            for text in texts:
                queue.enqueue("jobs.notify", "lobby", text)  # pyright: ignore[reportUnknownMemberType]  # rq's types have bare dicts
        done = subprocess.run(
            program("jobs.py", worker, redis_server.host, str(redis_server.port)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [heard(ada)["text"] for _ in texts] == texts
