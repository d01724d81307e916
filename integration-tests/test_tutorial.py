"""docs/tutorial/ does as it says: its steps are taken in order, and its page looked at after each.

What each chapter promises is checked in a browser, by the function here that has its name.
"""

import io
import re
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio
from clean_install import ROOT
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from serving import free_port
from tutorial_reader import Reader
from tutorial_steps import Commands, chapters, steps_of

# The browser lives in one event loop for the whole module. What pip has to download takes its time.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

TUTORIAL = ROOT / "docs" / "tutorial"
EXAMPLE = ROOT / "examples" / "tutorial"
CHAPTERS = chapters(TUTORIAL)

OpenTab: TypeAlias = Callable[..., Awaitable[Page]]

expect.set_options(timeout=60_000)  # for slow machines; nothing here takes that long


class Follower(Reader):
    """A reader who takes the chapters one after the other."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.port = free_port()
        super().__init__(folder, wheels, {"8000": str(self.port), "6379": str(free_port())})
        self._unread = {name: steps_of((TUTORIAL / f"{name}.md").read_text()) for name in CHAPTERS}
        self._reading = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, until: str, *, before: str | None = None) -> None:
        """Take all steps up to the end of this chapter, or up to the command that begins so.

        What a chapter has started runs until the next one.
        """
        for name in CHAPTERS[: CHAPTERS.index(until) + 1]:
            steps = self._unread[name]
            if steps and name != self._reading:
                self.stop_all()
                self._reading = name
            while steps:
                step = steps[0]
                if isinstance(step, Commands):
                    if name == until and before and step.text.startswith(before):
                        return
                    if "page.zip" in step.text:
                        (self.folder / "page.zip").write_bytes(page_zip())
                self.take(steps.pop(0))


def page_zip() -> bytes:
    """What docs/conf.py offers for downloading."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((EXAMPLE / "static").rglob("*")):
            file.write(path, path.relative_to(EXAMPLE))
    return archive.getvalue()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, our_wheels: Path) -> Iterator[Follower]:
    with Follower(tmp_path_factory.mktemp("reader"), our_wheels) as reader:
        yield reader


@pytest_asyncio.fixture(loop_scope="module")
async def open_tab(browser: Browser, reader: Follower) -> AsyncIterator[OpenTab]:
    """Opens the page as one more person; no script of it may fail."""
    contexts: list[BrowserContext] = []
    failures: list[str] = []

    async def open_tab(path: str = "/") -> Page:
        context = await browser.new_context()
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        await page.goto(reader.url + path)
        return page

    yield open_tab
    for context in contexts:
        await context.close()
    assert failures == []


async def these_are_live(page: Page, *titles: str) -> None:
    """The cards with these titles are connected, and the others say that they are not there yet."""
    for card in await page.locator(".card").all():
        title = await card.get_by_role("heading", level=2).inner_text()
        live = title.startswith(titles) if titles else False
        await expect(card.locator(".state")).to_have_text("Live" if live else "Not there yet")


def card(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


async def test_preparation(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("preparation")
    page = await open_tab()
    await these_are_live(page)
    await expect(page.locator("#summary-words")).to_have_text("0 live, 6 not there yet")
    reader.program("uvicorn").wait_for('"WebSocket /ws/system" 403')


async def test_system_messages(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("system-messages")
    page = await open_tab()
    await these_are_live(page, "System messages")
    await echo(page, "hello")

    # "Stop the server with Ctrl+C and watch the page", which comes back by itself.
    reader.stop_all()
    system = card(page, "System messages")
    await expect(system.locator(".state")).to_have_text("Offline")
    reader.type(Commands("uvicorn main:app"))
    await expect(system.locator(".state")).to_have_text("Live")
    await echo(page, "hello again")


async def test_room_chat(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("room-chat")
    ada, bob = await open_tab(), await open_tab()
    await these_are_live(ada, "System messages", "Room chat")
    for page in (ada, bob):
        await expect(page.locator("#people li")).to_have_count(2)
    text = "Say <img src=x onerror=alert(1)>"
    await say(ada, text)
    await expect(bob.locator("#room-messages .bubble")).to_have_text(text)

    garden = await open_tab("/rooms/garden")
    await say(garden, "Anybody?")
    await expect(garden.locator("#people li")).to_have_count(1)
    await bob.close()
    await expect(ada.locator("#room-messages .notice").last).to_contain_text("left")
    await expect(ada.locator("#people li")).to_have_count(1)
    await expect(ada.locator("#room-messages .bubble")).to_have_text([text])

    refused = await open_tab("/rooms/%3F%3F")
    await expect(card(refused, "Room chat").get_by_role("alert")).to_contain_text("A room name has")


async def test_background_jobs(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("background-jobs")
    page = await open_tab()
    await these_are_live(page, "System messages", "Room chat", "Background jobs")
    await page.get_by_role("button", name="Start a report").click()
    await page.get_by_role("button", name="Start one that fails").click()
    results = page.locator(".job-result")
    await expect(results).to_have_count(2)
    await expect(results.filter(has_text="5 words, longest 'Messages'")).to_be_visible()
    await expect(results.filter(has_text="This job always fails after two steps.")).to_be_visible()

    # "Start a report and stop the server with Ctrl+C": asked again, it knows nothing of it, unless
    # the job was done before.
    await page.get_by_role("button", name="Start a report").click()
    await expect(page.locator(".job-state").first).to_contain_text("%")
    reader.stop_all()
    reader.type(Commands("uvicorn main:app"))
    await expect(results.first).to_have_text(re.compile("knows nothing|5 words"))


async def test_showcase(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("showcase")
    ada, bob = await open_tab(), await open_tab()
    for page in (ada, bob):
        await expect(page.locator("#summary-words")).to_have_text("All 6 parts live")
        await expect(counter(page, "connections")).to_have_text("12")
    await echo(ada, "hello")
    await say(ada, "hello")
    await expect(counter(bob, "echoes")).to_have_text("1")
    await expect(counter(bob, "messages")).to_have_text("1")
    await ada.get_by_label("Reliable message", exact=True).fill("for sure")
    await ada.get_by_label("Reliable message", exact=True).press("Enter")
    await expect(bob.locator("#reliable-messages .bubble")).to_have_text("for sure")
    await ada.get_by_label("Tell every page").fill("Lunch")
    await ada.get_by_role("button", name="Notify").click()
    await expect(bob.locator(".notification-text")).to_have_text("Lunch")
    await expect(counter(bob, "notifications")).to_have_text("1")

    script = 'python send.py "The coffee is ready"'
    assert "REDIS_URL is not set" in reader.run(f"! {script}")


async def test_testing(reader: Follower) -> None:
    reader.read("testing")


async def test_deploying(reader: Follower, open_tab: OpenTab) -> None:
    reader.read("deploying", before="python send.py")
    server = reader.program("uvicorn")
    server.wait_for("Application startup complete", times=2)
    first, *others = pages = [await open_tab() for _ in range(4)]
    for page in pages:
        await all_is_live(page, len(pages))
    while len(await processes(pages)) < 2:  # whichever of them is quicker takes a connection
        await first.reload()
        await all_is_live(first, len(pages))
    await say(first, "hello")
    for page in others:
        await expect(page.locator("#room-messages .bubble")).to_have_text("hello")
        await expect(counter(page, "messages")).to_have_text("1")
    await first.get_by_role("button", name="Start a report").click()
    await expect(first.locator(".job-result")).to_have_text("5 words, longest 'Messages'")

    reader.read("deploying", before="kill ")
    for page in pages:
        await expect(page.locator(".notification-text")).to_have_text("The coffee is ready")

    (parent,) = server.wait_for(r"Started parent process \[(\d+)\]")
    reader.instead["4711"] = parent
    reader.read("deploying")
    server.wait_for("Finished server process", times=2)  # the old ones; then the restart is over
    for page in pages:
        await all_is_live(page, len(pages))
    await say(first, "still here")
    for page in others:
        await expect(page.locator("#room-messages .bubble").last).to_have_text("still here")
    reader.stop_all()


async def all_is_live(page: Page, people: int) -> None:
    await expect(page.locator("#summary-words")).to_have_text("All 6 parts live")
    await expect(page.locator("#people li")).to_have_count(people)


async def processes(pages: Sequence[Page]) -> set[str]:
    """Those that serve the cards of these pages."""
    shown = [await page.locator(".status .process").all_inner_texts() for page in pages]
    return {process for each in shown for process in each}


def counter(page: Page, name: str) -> Locator:
    return card(page, "Live counters").locator(f"dd[data-count={name}]")


async def echo(page: Page, text: str) -> None:
    """Ask for an echo, and see it come."""
    await page.get_by_label("Ask the server for an echo").fill(text)
    await page.get_by_role("button", name="Echo").click()
    await expect(page.locator("#system-lines")).to_contain_text(text)


async def say(page: Page, text: str) -> None:
    """Say something in the room, and see it come back from the server."""
    box = page.get_by_label("Message", exact=True)
    await box.fill(text)
    await box.press("Enter")
    mine = page.locator("#room-messages .message.own").last
    await expect(mine.locator(".bubble")).to_have_text(text)
    await expect(mine).not_to_have_class(re.compile("sending"))
