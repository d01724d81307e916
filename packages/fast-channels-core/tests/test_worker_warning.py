"""The in-memory layer warns when it serves one of several worker processes of a server.

The workers are real processes. They run this file, with another ``__name__``.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from fast_channels.layers import InMemoryChannelLayer

pytest.importorskip("fcntl", reason="needs locks of files, which Windows has not")

ADVICE = "Run one worker, or register a layer with a broker"


def use_layers() -> list[str]:
    """Open channels of two layers; what was logged because of that."""
    logged: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(f"{record.levelname} {record.getMessage()}")

    async def open_channels() -> None:
        for layer in (InMemoryChannelLayer(), InMemoryChannelLayer()):
            for _ in range(3):
                await layer.new_channel()

    logger = logging.getLogger("fast_channels")
    logger.handlers = [Keep()]
    logger.propagate = False
    asyncio.run(open_channels())
    return logged


def work(pipe: "Connection[Any, Any]") -> None:
    """What a worker does: it uses layers when told to."""
    while pipe.recv():
        pipe.send(use_layers())


class Worker:
    """A process as most servers start one."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=runpy.run_path, args=(__file__, {"pipe": theirs}, "worker"), daemon=True
        )
        self.process.start()
        theirs.close()

    def use_layers(self) -> list[str]:
        """Use layers in the worker; what was logged there because of that."""
        self._pipe.send(True)
        assert self._pipe.poll(60), "the worker does not answer"
        logged: list[str] = self._pipe.recv()
        return logged

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        elif self.process.is_alive():
            self._pipe.send(False)
        self.process.join(60)


def supervise(how: str) -> None:
    """What a server does that forks: it loads an application first, which uses a layer already."""
    results = [use_layers()]
    pipes: list[Connection[Any, Any]] = []
    for _ in range(2):
        ours, theirs = multiprocessing.Pipe()
        pipes.append(ours)
        if how == "multiprocessing":
            context = multiprocessing.get_context("fork")
            context.Process(target=work, args=(theirs,), daemon=True).start()
        elif os.fork() == 0:
            work(theirs)
            os._exit(0)
    for pipe in pipes:
        pipe.send(True)
        results.append(pipe.recv())
    for pipe in pipes:
        pipe.send(False)
    json.dump(results, sys.stdout)


@pytest.fixture
def start() -> Iterator[Callable[[], Worker]]:
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


def test_of_two_workers_one_warns_and_only_once(start: Callable[[], Worker]) -> None:
    first, second = start(), start()
    assert first.use_layers() == []
    (warning,) = second.use_layers()
    assert warning.startswith("WARNING the in-memory channel layer serves one process, but this is")
    assert ADVICE in warning
    assert first.use_layers() == second.use_layers() == []
    third = start()
    assert len(third.use_layers()) == 1


@pytest.mark.parametrize("kill", [False, True])
def test_a_worker_that_took_the_place_of_another_does_not_warn(
    start: Callable[[], Worker], kill: bool
) -> None:
    for _ in range(2):
        worker = start()
        assert worker.use_layers() == []
        worker.stop(kill=kill)


def test_a_worker_that_uses_no_layer_does_not_count(start: Callable[[], Worker]) -> None:
    start()
    assert start().use_layers() == []


async def test_a_process_that_no_server_started_does_not_warn(
    start: Callable[[], Worker],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fast_channels.layers._workers._looked_in", None)
    monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
    start().use_layers()
    await InMemoryChannelLayer().new_channel()
    assert caplog.records == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("how", ["gunicorn", "multiprocessing"])
def test_forked_workers_look_for_themselves(how: str) -> None:
    environment = {name: os.environ[name] for name in os.environ if name != "SERVER_SOFTWARE"}
    if how == "gunicorn":
        environment["SERVER_SOFTWARE"] = "gunicorn/23.0.0"
    finished = subprocess.run(
        [sys.executable, __file__, how],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stderr == ""
    supervisor, first, second = json.loads(finished.stdout)
    assert supervisor == first == []
    assert len(second) == 1
    assert ADVICE in second[0]


if __name__ == "worker":
    work(globals()["pipe"])
elif __name__ == "__main__":
    supervise(sys.argv[1])
