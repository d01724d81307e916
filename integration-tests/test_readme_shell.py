"""README.md's commands, word for word, in an environment that has nothing but what they install."""

import json
import shutil
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from clean_install import ROOT
from redis_servers import RedisServer
from serving import DEADLINE, free_port
from tutorial_reader import INSTALLING, Program, Reader
from tutorial_steps import Commands, steps_of
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.timeout(600)  # what pip has to download takes its time

README = (ROOT / "README.md").read_text()
NOX = "python -m pip install nox && python -m nox -s "


@pytest.fixture
def reader(tmp_path: Path, our_wheels: Path) -> Iterator[Reader]:
    folder = tmp_path / "project"
    folder.mkdir()
    with Reader(folder, our_wheels, {"8000": str(free_port())}) as reader:
        reader.run("python -m venv .venv\n. .venv/bin/activate")
        yield reader


def talk(reader: Reader, path: str) -> ClientConnection:
    # With a socket of our own no proxy of the environment gets between.
    port = reader.environment["UVICORN_PORT"]
    tcp = socket.create_connection(("127.0.0.1", int(port)))
    return connect(f"ws://127.0.0.1:{port}{path}", sock=tcp, open_timeout=DEADLINE)


def test_from_an_empty_environment_to_several_processes(
    reader: Reader, one_redis_server: RedisServer
) -> None:
    typed: list[str] = []
    # Steps of files have the address, too.
    for step in steps_of(README.replace("redis://localhost:6379", one_redis_server.url)):
        if isinstance(step, Commands) and step.text.startswith(NOX):
            continue
        reader.take(step)
        if not isinstance(step, Commands):
            continue
        typed.append(step.text.strip())
        if typed[-1] == "uvicorn app:app":
            reader.program("uvicorn").wait_for("Uvicorn running")
            with talk(reader, "/chat/lobby") as ada, talk(reader, "/chat/lobby") as bob:
                ada.send('"hello"')
                assert json.loads(bob.recv(timeout=DEADLINE)) == {"text": "hello"}
            reader.stop_all()
    assert typed[-1] == "uvicorn app:app --workers 4"

    reader.program("uvicorn").wait_for("Application startup complete", times=4)
    with talk(reader, "/chat/lobby") as ada, talk(reader, "/chat/lobby") as bob:
        ada.send('"hello"')
        assert json.loads(bob.recv(timeout=DEADLINE)) == {"text": "hello"}
        reader.run("python report.py")
        assert json.loads(bob.recv(timeout=DEADLINE)) == {"text": "The report is ready"}
    reader.stop_all()


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """The tree as a clone of the repository has it: without what was made in it."""
    made = (".git", ".nox", ".venv", ".*_cache", "__pycache__", "artifacts", "build", "dist")
    ignore = shutil.ignore_patterns(*made)
    return shutil.copytree(ROOT, tmp_path / "clone", ignore=ignore, symlinks=True)


def test_demo_of_a_fresh_clone(reader: Reader, copied_tree: Path) -> None:
    command = next(
        step.text.strip()
        for step in steps_of(README)
        if isinstance(step, Commands) and step.text.startswith(f"{NOX}demo")
    )
    install, _, run = command.partition(" && ")
    reader.run(f"cd {copied_tree}\n{install}")
    demo = Program(f"{run} -- --port 0", reader.folder, reader.environment)
    reader.programs.append(demo)
    # nox goes on to the program by `run`, and what that prints comes through.
    port = int(demo.wait_for(r"http://127\.0\.0\.1:(\d+)", timeout=INSTALLING)[0])
    http = HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    http.request("GET", "/")
    assert http.getresponse().status == 200
    http.close()
    demo.stop()
    assert "Stopped." in demo.output()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port)).close()
    assert demo.process.returncode in (0, 1, 128 + signal.SIGINT)  # nox's, of which it has several
