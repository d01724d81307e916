"""Runs the examples of the documentation, each in a process of its own.

As a program it imports what examples import, once, and then forks for each: that takes a fraction
of what an interpreter and these imports do. It reads requests from stdin and answers on stdout, a
line of JSON each.
"""

import faulthandler
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

PROGRAM: Final = "example.py"
TESTS: Final = "test_example.py"
TIMEOUT: Final = 100
PATIENCE: Final = 20
"""Seconds for each wait of a communicator: the one that readers have is short where much runs."""

# Old releases of what the examples import deprecate each other, before a line of ours runs.
STRICT: Final = ("-W", "error", "-W", "default::DeprecationWarning")
PLUGINS: Final = ("pytest_asyncio.plugin", "fast_channels_testing.pytest_plugin")
PYTEST: Final = (
    *("-q", "-p", "no:cacheprovider", "--asyncio-mode=auto", *STRICT),
    *("-o", "asyncio_default_fixture_loop_scope=function", "--disable-plugin-autoload"),
    *(argument for plugin in PLUGINS for argument in ("-p", plugin)),
    # The plugins are; they are not what an example is about.
    *("-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestWarning"),
)
PRELOADED: Final = (
    *("fastapi", "pytest", *PLUGINS, "redis.asyncio", "starlette.routing"),
    *("fast_channels.draining", "fast_channels.layers.redis", "fast_channels.limits"),
    *("fast_channels.testing", "fast_channels_testing.faults", "fast_channels_testing.websocket"),
)


class Runner:
    """Runs `example.py` or `test_example.py` of a folder, with the folder as `sys.path[0]`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, *STRICT, "-X", "dev", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # An example that is to have Redis is told so.
            env={name: text for name, text in os.environ.items() if name != "REDIS_URL"},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.communicate()

    def run(
        self, folder: Path, name: str, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The exit status, and all that was printed; ``environment`` is added to ours."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = json.dumps([str(folder), name, dict(environment or {})])
        print(request, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"the runner ended: {self._process.wait()}"
        status: int = json.loads(answer)
        return status, (folder / "output.txt").read_text(encoding="utf-8")


def run_here(folder: str, name: str, environment: Mapping[str, str]) -> NoReturn:
    os.environ.update(environment)
    output = os.open(Path(folder) / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    faulthandler.dump_traceback_later(TIMEOUT, exit=True)
    os.chdir(folder)
    sys.path[0] = folder
    sys.argv = [name]
    if name == TESTS:
        import pytest

        sys.exit(pytest.main([*PYTEST, name]))
    runpy.run_path(str(Path(folder, name)), run_name="__main__")
    sys.exit()


def serve() -> None:
    for module in PRELOADED:
        importlib.import_module(module)
    testing = sys.modules["fast_channels.testing"]
    for communicator in (testing.HttpCommunicator, testing.WebsocketCommunicator):
        communicator.__init__.__kwdefaults__["timeout"] = PATIENCE
    gc.collect()
    gc.freeze()
    requests: Any = sys.stdin
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if not child:
            run_here(*request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
