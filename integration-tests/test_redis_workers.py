"""Four worker processes of one server: over Redis, every client hears what any client says."""

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from clients import heard, open_websocket, say
from redis_servers import RedisServer
from serving import DEADLINE, running

CLIENTS = 100


@pytest.mark.parametrize("layer", ["RedisChannelLayer", "RedisPubSubChannelLayer"])
def test_every_message_reaches_all_clients_of_all_workers(
    layer: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYER", f"fast_channels.layers.redis.{layer}")
    monkeypatch.setenv("LAYER_CONFIG", json.dumps({"hosts": [redis_server.url], "capacity": 1000}))
    options = ("--workers", "4")
    with (
        running("uvicorn-sansio", "with_redis:app", tmp_path, *options, ready="/docs") as server,
        ExitStack() as stack,
    ):
        give_up_at = time.monotonic() + DEADLINE
        pids: set[int] = set()
        while len(pids) < 2:  # one of them may be ready long before the others
            assert time.monotonic() < give_up_at
            with open_websocket(server, "/room/waiting") as client:
                pids.add(heard(client)["pid"])
        clients = [
            stack.enter_context(open_websocket(server, "/room/lobby")) for _ in range(CLIENTS)
        ]
        assert len({heard(client)["pid"] for client in clients}) > 1
        # Senders in turn, each of which waits until it hears itself.
        for number, client in enumerate(clients[:5]):
            say(client, {"to": "group", "name": "lobby", "text": f"in turn {number}"})
            assert [heard(client) for _ in range(number + 1)][-1] == {"text": f"in turn {number}"}
        for number, client in enumerate(clients):
            rest = range(min(number + 1, 5), 5) if number < 5 else range(5)
            assert [heard(client) for _ in rest] == [{"text": f"in turn {n}"} for n in rest]
        # And all at once.
        for number, client in enumerate(clients):
            say(client, {"to": "group", "name": "lobby", "text": f"at once {number}"})
        order = [heard(clients[0]) for _ in clients]
        assert len({text["text"] for text in order}) == CLIENTS
        for client in clients[1:]:
            assert [heard(client) for _ in clients] == order
        server.stop()
        assert server.output() == ""
