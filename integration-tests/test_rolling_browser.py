"""The client of docs/how-to/rolling-deploys.md comes back when it should, in a real browser."""

from pathlib import Path

import pytest
from markdown_blocks import blocks
from playwright.async_api import Browser

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "rolling-deploys.md"

# The sockets that were opened, what was heard, and for how long it waited before each: no time
# passes, and no server is needed.
TRY = """([source, closes]) => {
    const opened = [], heard = [], waits = [];
    class Socket extends EventTarget {
        constructor(url) {
            super();
            opened.push(this);
        }
    }
    const later = (task, wait) => {
        waits.push(wait);
        task();
    };
    const connect = new Function(
        "WebSocket", "setTimeout", source.replace("export ", "") + "return connect;"
    )(Socket, later);
    connect("wss://chat.example.com/ws", data => heard.push(data));
    for (const [code, reason, data] of closes) {
        const socket = opened.at(-1);
        if (data !== null) socket.dispatchEvent(new MessageEvent("message", { data }));
        socket.dispatchEvent(new CloseEvent("close", { code, reason }));
    }
    return [opened.length, heard, waits];
}"""


async def waits_of(
    browser: Browser, *closes: tuple[int, str, str | None]
) -> tuple[int, list[str], list[float]]:
    (source,) = blocks(PAGE, "js")
    page = await browser.new_page()
    opened, heard, waits = await page.evaluate(TRY, [source, closes])
    await page.close()
    return opened, heard, waits


async def test_pauses_grow_until_there_is_a_message(browser: Browser) -> None:
    closes: list[tuple[int, str, str | None]] = [(1006, "", None)] * 7
    opened, heard, waits = await waits_of(browser, *closes, (1006, "", "hello"))
    assert (opened, heard) == (9, ["hello"])
    for wait, most in zip(waits, [500, 1000, 2000, 4000, 8000, 15000, 15000, 500], strict=True):
        assert most / 2 <= wait <= most


async def test_the_servers_hint_comes_first(browser: Browser) -> None:
    hinted, bare, foreign, other = (
        await waits_of(browser, (1012, '{"retry_after": 3.2}', None)),
        await waits_of(browser, (1012, "", None)),
        await waits_of(browser, (1012, "maintenance", None)),
        await waits_of(browser, (1001, '{"retry_after": 3.2}', None)),
    )
    assert 3450 <= hinted[2][0] <= 3700
    for _, _, (wait,) in (bare, foreign, other):
        assert 250 <= wait <= 500


async def test_a_refusal_is_final(browser: Browser) -> None:
    opened, heard, waits = await waits_of(browser, (4401, "log in first", "welcome"))
    assert (opened, heard, waits) == (1, ["welcome"], [])
