"""The demo as a program, and clients for it."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

TUTORIAL: Final = Path(__file__).parent.parent / "examples" / "tutorial"
PATIENCE: Final = 30
"""Seconds; what comes takes less than one of them."""

WITH_HEARTBEAT: Final = """
import sys

import page

page.PageConsumer.heartbeat_interval = float(sys.argv.pop(1))
import serve

sys.exit(serve.main())
"""


class Demo:
    """The tutorial's application as a program of its own, reachable once it is constructed."""

    folder = TUTORIAL

    def __init__(
        self,
        port: int = 0,
        *options: str,
        redis_url: str | None = None,
        heartbeat_interval: float | None = None,
    ) -> None:
        """``options``: more of the command line, such as ``"--redis"``."""
        program = ["serve.py"]
        if heartbeat_interval is not None:
            program = ["-c", WITH_HEARTBEAT, str(heartbeat_interval)]
        self.command = [sys.executable, *program]
        self.environment = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
        if redis_url is not None:
            self.environment["REDIS_URL"] = redis_url
        self.process = subprocess.Popen(
            [*self.command, *options, "--port", str(port)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Nothing but the end of the process can keep this line from coming.
        self.greeting = self.next_line()
        if " http://" not in self.greeting:
            raise RuntimeError(f"the demo printed no address, but: {self.greeting}{self.kill()}")
        self.url = next(word for word in self.greeting.split() if word.startswith("http://"))
        self.port = int(self.url.rpartition(":")[2])

    def next_line(self) -> str:
        """What it prints next; empty if it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def stop(self, signal_number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal, wait for the end, and return the exit code and the rest of the output.

        The output is complete when the last program has ended that the demo has started.
        """
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            output = self.process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, output

    def kill(self) -> str:
        """End it if it has not ended, and what it has started, too; the rest of the output."""
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return ""
        self.process.send_signal(signal.SIGCONT)  # a test may have halted it
        return self.stop(signal.SIGTERM)[1]


class StartDemo(Protocol):
    """Starts the demo, as often as it is called; takes what :class:`Demo` takes."""

    def __call__(
        self,
        port: int = 0,
        *options: str,
        redis_url: str | None = None,
        heartbeat_interval: float | None = None,
    ) -> Demo: ...


Frame = dict[str, Any]


def open_socket(demo: Demo, path: str, origin: str | None = None) -> ClientConnection:
    # With a socket of our own no proxy of the environment gets between.
    tcp = socket.create_connection(("127.0.0.1", demo.port))
    return connect(
        f"ws://127.0.0.1:{demo.port}{path}",
        sock=tcp,
        origin=Origin(origin) if origin else None,
        open_timeout=PATIENCE,
    )


def heard(connection: ClientConnection, *wanted: str) -> Frame:
    """The next frame; with ``wanted``, the next one of these types."""
    while True:
        frame: Frame = json.loads(connection.recv(timeout=PATIENCE))
        if not wanted or frame["type"] in wanted:
            return frame


def say(connection: ClientConnection, **frame: object) -> None:
    connection.send(json.dumps(frame))


def close_frame(connection: ClientConnection) -> tuple[int, str]:
    """Code and reason, after whatever was sent before."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            connection.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def request(demo: Demo, method: str, path: str, body: object = None) -> HTTPResponse:
    with closing(HTTPConnection("127.0.0.1", demo.port, timeout=PATIENCE)) as http:
        headers = {"Content-Type": "application/json"}
        http.request(method, path, None if body is None else json.dumps(body), headers)
        response = http.getresponse()
        response.read()
        return response
