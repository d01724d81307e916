"""What a script in a real browser learns of a connection that was refused."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from serving import Server, running

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")

CONNECT = """([url, protocols]) => new Promise(resolve => {
    const seen = [];
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => seen.push("open");
    socket.onmessage = event => seen.push(event.data);
    socket.onclose = event => resolve([...seen, event.code, event.reason]);
})"""


@pytest.fixture(scope="module", params=["uvicorn-sansio", "hypercorn", "granian"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    name: str = request.param
    with running(name, "rejecting:application", tmp_path_factory.mktemp(name)) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, server: Server) -> AsyncIterator[Page]:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{server.port}/page")
    yield page
    await context.close()


@pytest.mark.parametrize(
    ("how", "seen", "told"),
    [
        ("close", ["open", 4401, "log in"], 4401),
        ("error", ["open", 1011, "internal error"], 1011),
        ("denial", [1006, ""], 4401),
        ("http", [1006, ""], 4401),
    ],
)
@pytest.mark.parametrize("protocols", [[], ["chat.v2", "chat.v1"]], ids=["plain", "subprotocols"])
async def test_what_a_script_sees(
    server: Server, page: Page, how: str, seen: list[object], told: int, protocols: list[str]
) -> None:
    url = f"ws://127.0.0.1:{server.port}/refusing?how={how}"
    assert await page.evaluate(CONNECT, [url, protocols]) == seen
    assert server.reports.wait_for("rejected", how=how)[-1]["code"] == told
