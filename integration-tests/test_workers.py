"""The in-memory layer says so, once, if it cannot reach the clients of other worker processes."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from clients import heard, open_websocket
from serving import APPS, DEADLINE, Server, running
from websockets.exceptions import ConnectionClosed, InvalidHandshake

APP = "workers:application"
WARNING = (
    "the in-memory channel layer serves one process, but this is one of several worker processes: "
    "their clients will not see each other's messages. Run one worker, or register a layer with "
    "a broker, such as RedisPubSubChannelLayer (pip install 'fast-channels[redis]')."
)


def serving_process(server: Server) -> int:
    """Connect; the id of the process that answers."""
    with open_websocket(server, "/") as client:
        pid: int = heard(client)["pid"]
        return pid


def connect_until_two_answer(server: Server) -> None:
    give_up_at = time.monotonic() + DEADLINE
    pids: set[int] = set()
    while len(pids) < 2:
        assert time.monotonic() < give_up_at
        pids.add(serving_process(server))


@pytest.mark.parametrize("name", ["uvicorn-sansio", "hypercorn", "granian"])
def test_two_workers_are_warned_of_once(name: str, tmp_path: Path) -> None:
    with running(name, APP, tmp_path, "--workers", "2") as server:
        connect_until_two_answer(server)
        for _ in range(10):
            serving_process(server)
        server.stop()
        assert server.output() == f"{WARNING}\n"


@pytest.mark.parametrize("name", ["uvicorn-sansio", "hypercorn", "granian"])
def test_one_worker_is_nothing_to_warn_of(name: str, tmp_path: Path) -> None:
    with running(name, APP, tmp_path, "--workers", "1") as server:
        serving_process(server)
        server.stop()
        assert server.output() == ""


def test_reloading_is_nothing_to_warn_of(tmp_path: Path) -> None:
    app = tmp_path / "reloaded.py"
    app.write_text((APPS / "workers.py").read_text())
    with running("uvicorn-sansio", "reloaded:application", tmp_path, "--reload") as server:
        first = second = serving_process(server)
        give_up_at = time.monotonic() + DEADLINE
        while second == first:
            assert time.monotonic() < give_up_at
            # Again and again: it may take the first change for the state that it starts from.
            app.write_text(app.read_text() + "\n")
            with suppress(ConnectionClosed, InvalidHandshake, OSError):  # while it reloads
                second = serving_process(server)
        server.stop()
        assert "Reloading..." in server.output()
        assert "in-memory" not in server.output()
