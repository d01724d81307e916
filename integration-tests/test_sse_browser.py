"""Event streams as a real browser has them: it comes back by itself, until it is told not to."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from serving import COMMANDS, Server, free_port, running
from test_sse import APP, SERVERS, publish

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    name, *options = SERVERS[request.param]
    with running(name, APP, tmp_path, *options) as server:
        yield server
        assert (server.new_output(), server.reports.new_logs()) == ("", [])


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


async def test_it_comes_back_for_what_it_missed_until_it_is_told_not_to(
    server: Server, page: Page
) -> None:
    await page.goto(f"http://127.0.0.1:{server.port}/")
    state, items = page.locator("#state"), page.locator("li")
    seen = ['greeting "hello" ']
    await expect(items).to_have_text(seen)
    await expect(state).to_have_text("open")

    publish(server, "two\nlines")
    seen.append('message "two\\nlines" n\u00b0 1')
    await expect(items).to_have_text(seen)

    publish(server, "missed", live=False)
    server.control(send="news", message={"type": "news.close"})
    # An EventSource keeps the last id when it connects again.
    seen += ['greeting "hello" n\u00b0 1', 'message "missed" n\u00b0 2']
    await expect(items).to_have_text(seen)
    await expect(state).to_have_text("open")
    connects = server.reports.find("connect", id="browser")
    assert [report["last_event_id"] for report in connects] == [None, "n\u00b0 1"]

    server.request("POST", "/over")
    await expect(state).to_have_text("closed")
    assert server.reports.wait_for("connect", count=3)[2]["last_event_id"] == "n\u00b0 2"
    disconnects = server.reports.wait_for("disconnect", id="browser", count=3)
    assert [report["times"] for report in disconnects] == [1, 1, 1]
    await expect(items).to_have_text(seen)


@pytest.mark.parametrize("connect", ["no+more", "forbidden", "raise"])
async def test_it_gives_up_after_a_status(server: Server, page: Page, connect: str) -> None:
    await page.goto(f"http://127.0.0.1:{server.port}/?connect={connect}")
    await expect(page.locator("#state")).to_have_text("closed")
    assert len(server.reports.find("connect")) == 1
    server.reports.new_logs(expected=1 if connect == "raise" else 0)


async def test_it_comes_back_after_an_error_in_the_stream(server: Server, page: Page) -> None:
    await page.goto(f"http://127.0.0.1:{server.port}/?connect=send+and+raise")
    seen = ['message "begun" n\u00b0 0', 'greeting "hello" n\u00b0 0']
    await expect(page.locator("li")).to_have_text(seen)
    assert len(server.reports.find("connect")) == 2
    server.reports.new_logs(expected=1)


async def test_it_moves_to_the_process_that_takes_over(tmp_path: Path, page: Page) -> None:
    port = free_port()
    command = [*COMMANDS["uvicorn-sansio"].format(port=port).split(), APP]
    items = page.locator("li")
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    with Server(command, port, tmp_path / "old") as old:
        await page.goto(f"http://127.0.0.1:{port}/")
        old.reports.wait_for("connect")  # with its groups joined
        publish(old, "one")
        await expect(items).to_have_text(['greeting "hello" ', 'message "one" n\u00b0 1'])
        old.request("POST", "/drain")
        old.reports.wait_for("disconnect", id="browser")
        # It comes back to the old one, which tells it to try again later.
        async with page.expect_response("**/news?*") as turned_away:
            pass
        assert (await turned_away.value).status == 200
        old.stop()
        assert (old.output(), old.reports.new_logs()) == ("", [])
        assert len(old.reports.find("connect")) == 1
    with Server(command, port, tmp_path / "new") as new:
        new.reports.wait_for("connect", last_event_id="n\u00b0 1")
        publish(new, "from the new one")
        await expect(items.last).to_have_text('message "from the new one" n\u00b0 1')
