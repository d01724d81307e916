"""A server process: started when it answers, and never left behind."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

from ._binaries import Binary
from ._client import Argument, call
from ._wait import wait_until

HOST: Final = "127.0.0.1"

# Below the ports that systems give to clients: one of those that tries to reach a dead server
# could get the server's own port, and be connected to itself. Cluster nodes use port + 10000, too.
_PORTS: Final = range(10240, 20240)
_taken: Final[set[int]] = set()


def free_port() -> int:
    """A port that nothing listens at, and that was not returned before."""
    while True:
        port = random.choice(_PORTS)
        if port not in _taken and _is_free(port) and _is_free(port + 10_000):
            _taken.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


class _ExitedError(Exception):
    """The process ended before it answered."""


class ServerProcess:
    """What data servers and Sentinels have in common. Its port and folder stay the same."""

    def __init__(self, binary: Binary, *, password: str | None = None) -> None:
        self.binary = binary
        self.host = HOST
        self.port = free_port()
        self.password = password
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._owner = os.getpid()
        # Fixtures close it; this is for an interpreter that ends without them.
        atexit.register(self._close_at_exit)

    def directives(self) -> Iterable[str]:
        """The lines of the configuration."""
        yield f"port {self.port}"
        yield f"bind {HOST}"
        yield f"dir {self.folder}"
        yield "logfile server.log"
        yield "daemonize no"
        yield "protected-mode no"
        if self.password is not None:
            yield f'requirepass "{self.password}"'

    def arguments(self) -> Iterable[str]:
        """The command line, after the path of the configuration."""
        return ()

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def frozen(self) -> bool:
        return self._frozen

    @property
    def log(self) -> str:
        """What it has logged since it was first started."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def execute(self, *command: Argument) -> Any:
        """The reply to a command; bulk strings are decoded, with "surrogateescape"."""
        return call(self.address, *command, password=self.password)

    def start(self) -> Self:
        """Start it on its port, and wait until it answers."""
        assert self._process is None, "it is running"
        first = not self._config.exists()
        while True:
            if first:  # later it may hold what the server has written into it
                self._config.write_text("".join(f"{line}\n" for line in self.directives()))
            try:
                self._start()
            except _ExitedError as error:
                if not (first and "Address already in use" in str(error)):
                    raise RuntimeError(f"the server ended: {error}") from None
                self.port = free_port()  # somebody was faster
            else:
                return self

    @property
    def _config(self) -> Path:
        return self.folder / "server.conf"

    def _start(self) -> None:
        start_of_log = len(self.log)
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [self.binary.path, str(self._config), *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl+C is for pytest, which then stops what it started
            )

        def check() -> None:
            if process.poll() is not None:
                raise _ExitedError(self.log[start_of_log:])

        try:
            wait_until(lambda: self._ping() == "PONG", "the server answers", check)
            check()  # else somebody else has answered
        except BaseException:
            process.kill()
            process.wait()
            raise
        self._process = process

    def _ping(self) -> Any:
        return call(self.address, "PING", password=self.password, timeout=1)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end, which it does without saving."""
        if self._frozen:
            self.thaw()
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process, self._frozen = self._process, None, False
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=10)
        except BaseException:
            process.kill()
            process.wait()
            raise

    def freeze(self) -> None:
        """Let it answer nothing, with its connections open, until :meth:`thaw`."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        os.waitpid(self._process.pid, os.WUNTRACED)  # A signal takes its time.
        self._frozen = True

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._frozen = False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it is not running"
        self._process.send_signal(number)

    def close(self) -> None:
        """Kill it and remove its files. It cannot be started again."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self._close_at_exit)

    def _close_at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a fork
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
