"""What the integration tests share: the demo as a process of its own, and a real browser."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser

# --import-mode=importlib leaves it to us to make helpers importable.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "fast-channels-redis" / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "fast-channels-core" / "tests"))

from clean_install import build_wheels  # they can be found now
from layer_faults import layers_of_a_test
from redis_servers import RedisServer
from redis_servers.fixtures import binary_or_skip
from redis_servers.fixtures import certificates as certificates
from redis_servers.fixtures import own_cluster as own_cluster
from redis_servers.fixtures import own_server as own_server
from redis_servers.fixtures import own_trio as own_trio
from redis_servers.fixtures import redis_binary as redis_binary
from redis_servers.fixtures import redis_cluster as redis_cluster
from redis_servers.fixtures import redis_server as redis_server
from redis_servers.fixtures import sentinel_trio as sentinel_trio
from redis_servers.fixtures import shared_redis_cluster as shared_redis_cluster
from redis_servers.fixtures import shared_redis_server as shared_redis_server
from redis_servers.fixtures import tls_server as tls_server

make_layer = pytest_asyncio.fixture(layers_of_a_test)

TUTORIAL = Path(__file__).parent.parent / "examples" / "tutorial"

CHROMIUM_COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
HOW_TO_GET_ONE = (
    "no Chromium found; install one (Debian or Ubuntu: apt-get install chromium, "
    "macOS: brew install --cask chromium) or set FAST_CHANNELS_CHROMIUM=/path/to/it"
)
CHROMIUM_OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


WITH_HEARTBEAT = """
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
        assert self.process.stdout is not None
        # Nothing but the end of the process can keep this line from coming.
        self.greeting = self.process.stdout.readline()
        if " http://" not in self.greeting:
            self.process.kill()
            rest = self.process.communicate()[0]
            raise RuntimeError(f"the demo printed no address, but: {self.greeting}{rest}")
        self.url = next(word for word in self.greeting.split() if word.startswith("http://"))
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, signal_number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal, wait for the end, and return the exit code and the rest of the output."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            output = self.process.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, output


class StartDemo(Protocol):
    """Starts the demo, as often as it is called; takes what ``Demo`` takes."""

    def __call__(
        self,
        port: int = 0,
        *options: str,
        redis_url: str | None = None,
        heartbeat_interval: float | None = None,
    ) -> Demo: ...


@pytest.fixture
def start_demo() -> Iterator[StartDemo]:
    started: list[Demo] = []

    def start(
        port: int = 0,
        *options: str,
        redis_url: str | None = None,
        heartbeat_interval: float | None = None,
    ) -> Demo:
        demo = Demo(port, *options, redis_url=redis_url, heartbeat_interval=heartbeat_interval)
        started.append(demo)
        return demo

    yield start
    for demo in started:
        if demo.process.returncode is None:
            demo.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_demo() -> Iterator[Demo]:
    """One for a whole module, without options; not to be stopped."""
    demo = Demo()
    yield demo
    demo.stop()


@pytest.fixture(scope="session")
def our_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each of our distributions, for pip to find them."""
    return build_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def one_redis_server() -> Iterator[RedisServer]:
    """A server for what is the same on all of them."""
    with RedisServer(binary_or_skip("valkey")) as server:
        yield server.start()


def browser_test_not_run(reason: str) -> NoReturn:
    if os.environ.get("FAST_CHANNELS_REQUIRE_BROWSER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def find_chromium() -> str:
    chosen = os.environ.get("FAST_CHANNELS_CHROMIUM")
    for command in (chosen,) if chosen else CHROMIUM_COMMANDS:
        if path := shutil.which(command):
            return path
    if chosen:
        browser_test_not_run(f"FAST_CHANNELS_CHROMIUM={chosen} is not a program")
    browser_test_not_run(HOW_TO_GET_ONE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator["Browser"]:
    """A headless Chromium, started once for each module that asks for it.

    Its tests have to run in the module's event loop: pytest.mark.asyncio(loop_scope="module").
    """
    # Here, because only the browser tests need it.
    from playwright.async_api import async_playwright

    path = find_chromium()
    options = list(CHROMIUM_OPTIONS)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to run as root with its sandbox
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        await browser.close()
