"""The end of a process that has connections: told by a signal, reloaded, or drained by hand."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import pytest
from serving import APPS, DEADLINE, Server, running
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close

APP: Final = "drained:application"

BY_SIGNAL: Final = {
    "uvicorn-websockets": ("uvicorn-websockets",),
    "uvicorn-sansio": ("uvicorn-sansio",),
    "uvicorn-uvloop": ("uvicorn-uvloop",),
    "hypercorn": ("hypercorn", "--workers", "0"),
    "granian-asyncio": ("granian", "--loop", "asyncio"),
    "granian-uvloop": ("granian", "--loop", "uvloop"),
}
"""Servers that can be held back, and how they have to be started for that."""

Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    def start(name: str, *options: str, app: str = APP, **drain: float) -> Server:
        monkeypatch.setenv("DRAIN", json.dumps(drain))
        return running(name, app, tmp_path, *options, ready="/ready")

    return start


@asynccontextmanager
async def crowd(server: Server, count: int) -> AsyncGenerator[list[ClientConnection]]:
    """That many clients."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(guest(server)) for _ in range(count)]


def guest(server: Server) -> connect:
    url = f"ws://127.0.0.1:{server.port}/"
    return connect(url, proxy=None, open_timeout=DEADLINE, ping_interval=None)


async def heard(client: ClientConnection) -> str:
    async with asyncio.timeout(DEADLINE):
        return str(await client.recv())


async def closed(client: ClientConnection) -> tuple[list[str], Close]:
    """Wait for the close frame; what came before it, too."""
    texts: list[str] = []
    with pytest.raises(ConnectionClosed) as end:
        while True:
            texts.append(await heard(client))
    assert end.value.rcvd is not None, "the connection broke off: the client sees 1006"
    return texts, end.value.rcvd


async def took_leave(client: ClientConnection) -> float:
    """Wait for the end by a drain; when the client is to come back."""
    texts, close = await closed(client)
    assert close.code == 1012
    retry_after: float = json.loads(close.reason)["retry_after"]
    assert texts == [f"come back in {retry_after}"]
    return retry_after


async def status(server: Server, path: str = "/ready", method: str = "GET") -> int:
    response, _ = await asyncio.to_thread(server.request, method, path)
    return response.status


async def ended(server: Server) -> int:
    return await asyncio.to_thread(server.process.wait, DEADLINE)


def check_clean(server: Server, disconnects: int) -> None:
    """Every connection has ended once, with its channel closed, and nobody complains."""
    assert len(server.reports.find("disconnect")) == disconnects
    assert server.output() == ""
    assert server.reports.find("log") == []


# By a signal.


@pytest.mark.parametrize("name", BY_SIGNAL)
async def test_everybody_takes_leave(start: Start, name: str) -> None:
    count = 300 if name in ("uvicorn-websockets", "uvicorn-sansio") else 60
    with start(*BY_SIGNAL[name], timeout=1, jitter=9, batch=count // 6) as server:
        async with crowd(server, count) as clients:
            told_at = time.monotonic()
            server.process.terminate()
            times = await asyncio.gather(*map(took_leave, clients))
            assert await ended(server) == 0
            assert time.monotonic() - told_at < DEADLINE
        assert 0 <= min(times) < max(times) <= 9
        check_clean(server, count)
        (report,) = server.reports.find("drained")
        assert (report["connections"], report["aborted"], report["stuck"]) == (count, 0, 0)


@pytest.mark.parametrize("name", BY_SIGNAL)
async def test_who_is_busy_may_finish_and_nobody_comes_in(start: Start, name: str) -> None:
    with start(*BY_SIGNAL[name], timeout=60) as server:
        async with crowd(server, 2) as (busy, idle):
            assert await status(server) == 200
            await busy.send("wait")
            await asyncio.to_thread(server.reports.wait_for, "busy")
            server.process.terminate()
            await took_leave(idle)
            assert await status(server) == 503
            assert await status(server, "/stream") == 503
            with pytest.raises(InvalidStatus) as refused:
                async with guest(server):
                    pass
            assert refused.value.response.status_code == 503
            assert int(refused.value.response.headers["retry-after"]) in range(1, 6)
            assert await status(server, "/release", "POST") == 204
            assert await heard(busy) == "done"
            await took_leave(busy)
            assert await ended(server) == 0
        check_clean(server, 2)


@pytest.mark.parametrize("name", BY_SIGNAL)
async def test_handlers_are_cancelled_at_the_deadline(start: Start, name: str) -> None:
    with start(*BY_SIGNAL[name], timeout=0.5) as server:
        async with crowd(server, 1) as (client,):
            await client.send("wait")
            await asyncio.to_thread(server.reports.wait_for, "busy")
            server.process.terminate()
            texts, close = await closed(client)
            assert (texts, close.code) == ([], 1012)
            assert "retry_after" in close.reason
            assert await ended(server) == 0
        assert len(server.reports.find("cancelled")) == 1
        assert len(server.reports.find("disconnect", code=1012)) == 1
        assert server.output() == ""
        (log,) = server.reports.find("log")
        assert log["text"].startswith("1 connections have not ended in 0.5 s")


@pytest.mark.parametrize("name", ["uvicorn-sansio", "uvicorn-uvloop"])
async def test_interrupt_after_the_signal_leaves_it_to_the_server(start: Start, name: str) -> None:
    with start(name, "--timeout-graceful-shutdown", "1", timeout=3600) as server:
        async with crowd(server, 2) as (busy, idle):
            await busy.send("wait")
            await asyncio.to_thread(server.reports.wait_for, "busy")
            server.process.terminate()
            await took_leave(idle)
            server.process.send_signal(signal.SIGINT)
            with pytest.raises(ConnectionClosed):
                await heard(busy)
            assert await ended(server) == 0
        assert len(server.reports.find("cancelled")) == 1
        assert len(server.reports.find("disconnect")) == 2


async def test_stream_ends(start: Start) -> None:
    with start("uvicorn-sansio") as server:
        with closing(server.open_http()) as http:
            http.request("GET", "/stream")
            with http.getresponse() as response:
                assert response.read(7) == b"hello, "
                server.process.terminate()
                assert response.read() == b"bye"
        assert await ended(server) == 0
        assert len(server.reports.find("http disconnect")) == 1
        check_clean(server, 0)


# Several processes.


async def test_supervisor_that_tells_all_processes(start: Start) -> None:
    with start("uvicorn-sansio", "--workers", "2", timeout=1, batch=3) as server:
        async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE):
            clients: list[ClientConnection] = []
            pids: set[str] = set()
            # The second one may take a while to start.
            while len(clients) < 24 or len(pids) < 2:
                clients.append(await stack.enter_async_context(guest(server)))
                await clients[-1].send("pid")
                pids.add(await heard(clients[-1]))
            # As systemd does; and then the main process tells the others once more.
            os.killpg(server.process.pid, signal.SIGTERM)
            for client in clients:
                await took_leave(client)
            assert await ended(server) == 0
        assert len(server.reports.find("disconnect", code=1012)) == len(clients)
        assert server.output() == ""
        reports = server.reports.find("drained")
        assert sum(report["connections"] for report in reports) == len(clients)
        assert len(reports) == 2


async def edit(file: Path) -> None:
    """Change it, and again after a while: uvicorn's watcher misses a change now and then."""
    code = await asyncio.to_thread(file.read_text)
    while True:
        code += "\n"
        await asyncio.to_thread(file.write_text, code)
        await asyncio.sleep(3)


async def test_reload_does_not_hang(start: Start, tmp_path: Path) -> None:
    app = tmp_path / "reloaded.py"
    app.write_text((APPS / "drained.py").read_text())
    with start("uvicorn-sansio", "--reload", app="reloaded:application", timeout=60) as server:
        async with crowd(server, 3) as clients:
            await clients[0].send("pid")
            first = await heard(clients[0])
            editing = asyncio.create_task(edit(app))
            for client in clients:
                await took_leave(client)
            editing.cancel()
        # It has stopped listening by then.
        await asyncio.to_thread(server.reports.wait_for, "drained", pid=int(first))
        async with crowd(server, 1) as (client,):
            await client.send("pid")
            assert await heard(client) != first
            # Ctrl+C in a terminal is for all processes.
            os.killpg(server.process.pid, signal.SIGINT)
            await took_leave(client)
        assert await ended(server) == 0
        assert len(server.reports.find("disconnect", code=1012)) == 4
        assert server.reports.find("log") == []


# By hand.


@pytest.mark.parametrize("name", ["uvicorn-sansio", "hypercorn", "daphne"])
async def test_orchestrator_asks_first(start: Start, name: str) -> None:
    with start(name) as server:
        async with crowd(server, 5) as clients:
            response, body = await asyncio.to_thread(server.request, "POST", "/drain")
            assert response.status == 200
            report: dict[str, Any] = json.loads(body)
            assert (report["connections"], report["aborted"]) == (5, 0)
            for client in clients:
                if name == "daphne":  # It takes neither this code nor a reason.
                    _, close = await closed(client)
                    assert (close.code, close.reason) == (4012, "")
                else:
                    await took_leave(client)
            assert await status(server) == 503
        await asyncio.to_thread(server.stop)
        check_clean(server, 5)
