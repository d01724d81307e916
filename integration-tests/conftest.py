"""What the integration tests share: the demo as a process of its own, and a real browser."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser

# --import-mode=importlib leaves it to us to make helpers importable.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "fast-channels-redis" / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "fast-channels-core" / "tests"))

from clean_install import build_wheels  # they can be found now
from demo_program import Demo as Demo
from demo_program import StartDemo as StartDemo
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
        demo.kill()


@pytest.fixture(scope="module")
def shared_demo() -> Iterator[Demo]:
    """One for a whole module, without options; not to be stopped."""
    demo = Demo()
    yield demo
    demo.stop()


@pytest.fixture(scope="session")
def our_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each of our distributions, for pip to find them."""
    # Debian's Python cannot make environments without its package python3-venv.
    pytest.importorskip("ensurepip", reason="`python -m venv` does not work with this Python")
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
