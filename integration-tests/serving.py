"""Servers in processes of their own, and what they and their applications have to say."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

DEADLINE: Final = 20.0
"""Seconds after which a test gives up on something that has to come. Most of it takes none."""

APPS: Final = Path(__file__).parent / "apps"

Report: TypeAlias = dict[str, Any]

_NOT_OURS: Final = (
    "The `websockets` implementation is deprecated",  # uvicorn, of one of its three
    "The 'alias' attribute with value",  # pydantic, of what FastAPI of old versions does
)
"""How warnings begin that servers and frameworks give of themselves."""

_UVICORN: Final = "uvicorn --port {port} --log-level warning"

COMMANDS: Final[Mapping[str, str]] = {
    "uvicorn-websockets": f"{_UVICORN} --ws websockets --loop asyncio",
    "uvicorn-sansio": f"{_UVICORN} --ws websockets-sansio --loop asyncio",
    "uvicorn-wsproto": f"{_UVICORN} --ws wsproto --loop asyncio",
    "uvicorn-uvloop": f"{_UVICORN} --ws websockets-sansio --loop uvloop",
    # 1 second instead of 3: that long it waits for clients that stay, when it is to end.
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} --log-level warning --graceful-timeout 1",
    "daphne": "daphne --port {port} --verbosity 0",
    "granian": "granian --port {port} --interface asgi --log-level warning",
}
"""By name: how each server is told to serve quietly, so that all that it prints is a complaint."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Reports:
    """What an application has reported; see apps/reporting.py."""

    def __init__(self, pipe: Path) -> None:
        self.pipe = pipe
        os.mkfifo(pipe)
        # Open for writing, too, so that it does not end when the last process of a server does.
        self._file = os.fdopen(os.open(pipe, os.O_RDWR), "rb", buffering=0)
        self._news = threading.Condition()
        self._all: list[Report] = []
        self._logs_seen = 0
        self._asked = itertools.count(1)
        self._answered = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        while True:
            *lines, rest = (rest + self._file.read(65536)).split(b"\n")
            with self._news:
                for line in lines:
                    if not line:
                        return
                    if line.isdigit():
                        self._answered = int(line)
                    else:
                        self._all.append(json.loads(line))
                self._news.notify_all()

    def find(self, what: str, **details: object) -> list[Report]:
        """Those that say this, of all that were written until now."""
        if self._thread.is_alive():
            # What is written last is read last.
            number = next(self._asked)
            os.write(self._file.fileno(), b"%d\n" % number)
            with self._news:
                assert self._news.wait_for(lambda: self._answered >= number, timeout=DEADLINE)
        return self._found(what, **details)

    def _found(self, what: str, **details: object) -> list[Report]:
        wanted = {"what": what, **details}
        return [report for report in self._all.copy() if wanted.items() <= report.items()]

    def wait_for(self, what: str, *, count: int = 1, **details: object) -> list[Report]:
        """Those that say this, once there are ``count`` of them."""
        with self._news:
            came = self._news.wait_for(
                lambda: len(self._found(what, **details)) >= count, timeout=DEADLINE
            )
        assert came, f"expected {count} x {what} {details}, got {self._all}"
        return self._found(what, **details)

    def new_logs(self, expected: int = 0) -> list[Report]:
        """What the library has logged since the last call; waits for as many as are expected."""
        if expected:
            self.wait_for("log", count=self._logs_seen + expected)
        logs = self.find("log")
        new, self._logs_seen = logs[self._logs_seen :], len(logs)
        return new

    def close(self) -> None:
        os.write(self._file.fileno(), b"\n")
        self._thread.join()
        self._file.close()


class Server:
    """A server that answers requests once it is constructed, and ends with a ``with`` block."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        folder: Path,
        *,
        apps: Path = APPS,
        ready: str = "/control",
    ) -> None:
        self.port = port
        self.reports = Reports(folder / "reports")
        self._output = folder / "output"
        self._output_seen = 0
        self._closed = False
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(apps), os.environ.get("PYTHONPATH")))),
            "REPORT_TO": str(self.reports.pipe),
            "PYTHONWARNINGS": ",".join(f"ignore:{text}" for text in _NOT_OURS),
        }
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, so that kill() gets its workers, too.
                start_new_session=True,
            )
        try:
            self._wait_until_it_answers(ready)
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _wait_until_it_answers(self, path: str) -> None:
        give_up_at = time.monotonic() + 60
        while True:
            try:
                self.request("GET", path)
            except ConnectionError:
                if self.process.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError(f"the server did not start:\n{self.output()}") from None
                # Between attempts to connect: there is no event that all servers give.
                time.sleep(0.02)
            else:
                return

    def output(self) -> str:
        """All that the server has printed."""
        return self._output.read_text()

    def new_output(self) -> str:
        """What the server has printed since the last call."""
        output = self.output()
        new, self._output_seen = output[self._output_seen :], len(output)
        return new

    def tcp(self) -> socket.socket:
        """A connection. Given to a client, it also keeps it from using a proxy."""
        tcp = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        # Small frames leave at once, not when the one before was acknowledged.
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tcp

    def open_http(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def request(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """One request; ``body`` as bytes, or as anything that JSON has."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        http = self.open_http()
        try:
            http.request(method, path, data, dict(headers or {}))
            response = http.getresponse()
            return response, response.read()
        finally:
            http.close()

    def control(self, path: str = "/control", /, **order: object) -> dict[str, Any]:
        """Give an order to the application; what it answers, such as what has been counted."""
        response, body = self.request("POST", path, order)
        assert response.status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(timeout=DEADLINE)

    def kill(self) -> None:
        """End what has not ended yet."""
        if self._closed:
            return
        self._closed = True
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reports.close()


def running(name: str, app: str, folder: Path, *options: str, ready: str = "/control") -> Server:
    """A server of :data:`COMMANDS` with an application of ``apps/``."""
    port = free_port()
    command = [*COMMANDS[name].format(port=port).split(), *options, app]
    return Server(command, port, folder, ready=ready)


@contextmanager
def running_quietly(name: str, app: str, folder: Path, *options: str) -> Generator[Server]:
    """The same, and it has nothing to complain of, not even in the end."""
    with running(name, app, folder, *options) as server:
        yield server
        server.stop()
        assert server.new_output() == ""


def with_nothing_to_say(shared: Server) -> Iterator[Server]:
    """Between tests: neither the server nor the library has complained of anything."""
    yield shared
    shared.control()  # its answer comes after what the end of a connection left to be done
    assert (shared.new_output(), shared.reports.new_logs()) == ("", [])


def one_disconnect(server: Server, client: str) -> int:
    """Wait for the disconnect hook; the code that it was given."""
    report, *more = server.reports.wait_for("disconnect", id=client)
    assert more == []
    assert report["times"] == 1
    assert report["channel_closed"]
    assert not report["in_group"]
    code: int = report["code"]
    return code


def one_logged_error(server: Server, error: str) -> None:
    logs = server.reports.new_logs(expected=1)
    assert [(log["level"], log["error"]) for log in logs] == [("ERROR", error)]


def open_stream(server: Server, client: str) -> tuple[HTTPConnection, HTTPResponse]:
    """Begin a request to the streaming consumer; its first part has come."""
    http = server.open_http()
    http.request("GET", f"/stream?id={client}&group={client}")
    response = http.getresponse()
    assert response.status == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert (response.readline(), response.readline()) == (b"data: start\n", b"\n")
    return http, response
