"""Jobs, the reliable chat, notifications and live counters, in a real browser."""

import json
import re
import signal
from collections.abc import Awaitable
from contextlib import closing
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from demo_tabs import LOW_CONTRAST, OpenTab, all_live, in_room, keep_screenshot, say, state
from demo_tabs import open_tab as open_tab
from playwright.async_api import Locator, Page, WebSocketRoute, expect

if TYPE_CHECKING:
    from conftest import Demo, StartDemo

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")

RESULT = "5 words, longest 'Messages'"


def count(page: Page, name: str) -> Locator:
    return page.locator(f".totals [data-count={name}]")


def newest_job(page: Page) -> Locator:
    return page.locator(".job").first


async def start_job(page: Page, button: str) -> None:
    await page.locator("#jobs").get_by_role("button", name=button).click()


class Relay:
    """Gives a page the frames of ``/ws/jobs`` up to one, and keeps the others from it."""

    def __init__(self, last: dict[str, Any]) -> None:
        self.last = last.items()
        self.routes: list[WebSocketRoute] = []

    async def install(self, page: Page) -> None:
        await page.route_web_socket("**/ws/jobs", self._pass_on)

    def _pass_on(self, route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        self.routes.append(route)
        if len(self.routes) > 1:
            return  # what is not handled here is passed on
        quiet = False

        def to_page(frame: str | bytes) -> None:
            nonlocal quiet
            if not quiet:
                route.send(frame)
            quiet = quiet or self.last <= json.loads(frame).items()

        server.on_message(to_page)


async def test_job_is_followed_after_the_connection_was_lost(
    shared_demo: "Demo", open_tab: OpenTab
) -> None:
    relay = Relay({"type": "progress", "done": 6})
    page = await open_tab(shared_demo, prepare=relay.install)
    await all_live(page)
    await start_job(page, "Start one that fails")
    failed = page.locator(".job", has_text="Job that fails")
    await expect(failed.locator(".job-state")).to_have_text("Failed")
    await expect(failed.get_by_role("status")).to_contain_text("always fails")
    await expect(failed.get_by_role("progressbar")).to_have_count(0)
    await start_job(page, "Start a report")
    job = newest_job(page)
    await expect(job.locator(".job-state")).to_have_text("60 %")
    bar = page.get_by_role("progressbar", name="Messages travel through fast channels")
    await expect(bar).to_have_js_property("value", 6)
    await expect(bar).to_have_attribute("max", "10")
    await keep_screenshot(page, "jobs", "jobs", docs="jobs")

    await relay.routes[0].close(code=1011)
    await expect(job.locator(".job-result")).to_have_text(RESULT)
    await expect(job.locator(".job-state")).to_have_text("Done")
    await expect(bar).to_have_js_property("value", 10)
    await expect(state(page, "jobs")).to_have_text("Live")
    assert len(relay.routes) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that halts a process")
async def test_jobs_of_a_server_that_died(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    relay = Relay({"type": "progress"})
    page = await open_tab(demo, prepare=relay.install)
    await all_live(page)
    await start_job(page, "Start a report")
    gone = page.locator(".job").last
    await expect(gone.locator(".job-state")).to_have_text("10 %")
    demo.process.send_signal(signal.SIGSTOP)
    await start_job(page, "Start a report")
    not_started = newest_job(page)
    await expect(not_started.locator(".job-state")).to_have_text("Sent")
    demo.stop(signal.SIGKILL)
    await expect(gone.locator(".job-state")).to_have_text("Connection lost")
    await expect(not_started).to_contain_text("Perhaps not started.")

    start_demo(demo.port)
    await expect(gone.get_by_role("status")).to_contain_text("knows nothing of this job")
    await not_started.get_by_role("button", name="Start again").click()
    await expect(not_started.locator(".job-result")).to_have_text(RESULT)
    await expect(page.locator(".job")).to_have_count(2)


async def test_notification_by_page_and_by_post(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    grace = await open_tab(demo, name="Grace")
    await all_live(ada)
    await all_live(grace)
    field = ada.get_by_label("Tell every page")
    await field.fill("The coffee is ready")
    await ada.get_by_role("button", name="Notify").click()
    for page in (ada, grace):
        await expect(page.locator(".notification")).to_contain_text("The coffee is ready")
        await expect(page.locator(".notification")).to_contain_text("Info")
    await expect(field).to_have_value("")

    with closing(HTTPConnection("127.0.0.1", demo.port, timeout=30)) as http:
        body = json.dumps({"text": "The disk is nearly full", "level": "warning"})
        http.request("POST", "/notifications", body, {"Content-Type": "application/json"})
        assert http.getresponse().status == 202
    for page in (ada, grace):
        newest = page.locator(".notification").first
        await expect(newest).to_contain_text("The disk is nearly full")
        await expect(newest.locator(".level")).to_have_text("Warning")

    demo.stop()
    await field.fill("Nobody will hear this")
    await ada.keyboard.press("Enter")
    await expect(ada.locator("#notifications .alert")).to_contain_text("could not be reached")
    await expect(field).to_have_value("Nobody will hear this")


async def test_reliable_chat(shared_demo: "Demo", open_tab: OpenTab) -> None:
    routes: list[WebSocketRoute] = []

    def keep(route: WebSocketRoute) -> None:
        route.connect_to_server()
        routes.append(route)

    def prepare(page: Page) -> Awaitable[None]:
        return page.route_web_socket("**/ws/reliable*", keep)

    ada = await open_tab(shared_demo)
    grace = await open_tab(shared_demo, name="Grace", prepare=prepare)
    await all_live(ada)
    await all_live(grace)
    await ada.get_by_label("Reliable message").fill("This one waits for you")
    await ada.keyboard.press("Enter")
    await expect(grace.locator("#reliable .bubble")).to_have_text("This one waits for you")
    await expect(grace.locator("#reliable .author")).to_have_text("Ada Lovelace")
    await expect(ada.locator("#reliable .message")).not_to_have_class(re.compile("sending"))

    # What the server says of a message that was lost is said where it is missing.
    routes[0].send('{"type":"missed"}')
    await expect(grace.locator("#reliable .notice")).to_contain_text("Messages were missed here")
    await expect(ada.locator("#reliable .notice")).to_have_count(0)

    # A new name is the name here, too.
    await grace.get_by_label("Your name").fill("Admiral")
    await grace.keyboard.press("Enter")
    await expect(grace.locator("#people")).to_contain_text("Admiral")
    await expect(state(grace, "reliable")).to_have_text("Live")
    await grace.get_by_label("Reliable message").fill("And it has come")
    await grace.keyboard.press("Enter")
    await expect(ada.locator("#reliable .author").last).to_have_text("Admiral")


async def test_live_counters_in_two_tabs(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    grace = await open_tab(demo, name="Grace")
    await all_live(ada)
    await all_live(grace)
    for page in (ada, grace):
        await expect(count(page, "connections")).to_have_text("12")
        await expect(page.locator("#strip")).to_be_visible()
    await expect(ada.locator("#processes dd")).to_have_text([str(demo.process.pid)] * 6)

    for _ in range(2):
        await ada.get_by_label("Ask the server for an echo").fill("hello")
        await ada.keyboard.press("Enter")
    await say(grace, "counted, too")
    for page in (ada, grace):
        await expect(count(page, "echoes")).to_have_text("2")
        await expect(count(page, "messages")).to_have_text("1")
        await expect(page.locator("#strip")).to_contain_text("2 echoes")
    await keep_screenshot(ada, "counters", "counters")


async def test_overview(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    """All parts at work, in light and dark: everything can be read, and looks as it should."""
    demo = start_demo()
    ada = await open_tab(demo, size=(1240, 780))
    grace = await open_tab(demo, name="Grace Hopper", size=(1240, 780), scheme="dark")
    phone = await open_tab(demo, name="Linus", size=(360, 790), scheme="dark")
    tabs = (ada, grace, phone)
    for tab in tabs:
        await all_live(tab)
        await in_room(tab, 3)
    await say(ada, "Good morning, everybody!")
    await say(grace, "Morning.\nHow is the new layer?")
    await say(ada, "Quick, and it tells me who is here.")
    await say(phone, "It works on the train, too.")
    for tab, text in ((ada, "This one waits for you"), (grace, "And it has come")):
        await tab.get_by_label("Reliable message").fill(text)
        await tab.keyboard.press("Enter")
        await expect(ada.locator("#reliable .bubble").last).to_have_text(text)
    for text, level in (("The coffee is ready", "Info"), ("The disk is nearly full", "Warning")):
        await ada.get_by_label("Level").select_option(level)
        await ada.get_by_label("Tell every page").fill(text)
        await ada.keyboard.press("Enter")
        await expect(phone.locator(".notification").first).to_contain_text(text)
    for tab in (ada, grace):
        await tab.get_by_label("Ask the server for an echo").fill("Is anybody there?")
        await tab.keyboard.press("Enter")
        await start_job(tab, "Start one that fails")
        await expect(newest_job(tab)).to_contain_text("always fails")
        await start_job(tab, "Start a report")
    for tab in (ada, grace):
        await expect(newest_job(tab).locator(".job-state")).to_have_text("Done")
    for tab in tabs:
        await expect(count(tab, "jobs")).to_have_text("4")
        await expect(count(tab, "messages")).to_have_text("6")
        await expect(tab.locator("#room .message")).to_have_count(4)
        await tab.evaluate("document.activeElement.blur()")
        assert await tab.evaluate(LOW_CONTRAST) == []
    await keep_screenshot(ada, "overview-light", whole=True, docs="overview-light")
    await keep_screenshot(ada, "showcase", "reliable", "counters", docs="showcase")
    await keep_screenshot(grace, "overview-dark", whole=True, docs="overview-dark")
    await keep_screenshot(phone, "phone", docs="phone")
