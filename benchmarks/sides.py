"""The two environments, and processes started in them."""

import json
import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

_ROOT = Path(__file__).parent.parent


class Cores(NamedTuple):
    """Which processor does what: different ones, if there are several."""

    measured: int
    clients: int

    @classmethod
    def find(cls) -> "Cores":
        if not hasattr(os, "sched_getaffinity"):
            return cls(0, 0)
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[-1])


@dataclass(frozen=True)
class Side:
    """One of the implementations that are compared."""

    name: str
    python: str

    def run(self, worker: str, **options: object) -> dict[str, Any]:
        """What the worker says, once it has ended."""
        answer = subprocess.run(
            self._command(worker, options),
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            check=True,
            timeout=180,
        )
        return _parsed(answer.stdout)

    def serve(self, app: str, core: int) -> AbstractContextManager["ServerProcess"]:
        """A server that runs until the block ends."""
        return self.start("serve", {"app": app, "core": core})

    @contextmanager
    def start(
        self, worker: str, options: Mapping[str, object], stderr: IO[bytes] | None = None
    ) -> Generator["ServerProcess"]:
        """A server by another worker."""
        with subprocess.Popen(
            self._command(worker, options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=_ROOT,
        ) as process:
            try:
                yield ServerProcess(process)
            finally:
                process.kill()

    def _command(self, worker: str, options: Mapping[str, object]) -> list[str]:
        pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        # -E: with PYTHONPATH one side might import the other's package, which has the same name.
        return [self.python, "-E", "-m", f"benchmarks.workers.{worker}", *pairs]


class ServerProcess:
    """A running server, which tells about itself."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.port = int(self.hear()["port"])

    def cpu_seconds(self) -> float:
        return float(self._ask(b"cpu")["cpu"])

    def resident_bytes(self) -> int:
        return int(self._ask(b"memory")["memory"])

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        return self._process.wait(timeout=60)

    def _ask(self, question: bytes) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the server was started without a pipe to ask it")
        self._process.stdin.write(question + b"\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """The next that it says."""
        if self._process.stdout is None:
            raise RuntimeError("the server was started without a pipe to hear it")
        return _parsed(self._process.stdout.readline())


def _parsed(line: bytes) -> dict[str, Any]:
    if not line:
        raise RuntimeError("a process of the benchmark ended early; what it printed is above")
    values: dict[str, Any] = json.loads(line)
    return values
