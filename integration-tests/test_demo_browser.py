"""The page of the demo as a whole: its connections, its keys, its looks."""

import asyncio
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from demo_tabs import (
    CARDS,
    LOW_CONTRAST,
    OpenTab,
    all_live,
    in_room,
    keep_screenshot,
    message_box,
    say,
    state,
)
from demo_tabs import open_tab as open_tab
from playwright.async_api import Page, WebSocket, WebSocketRoute, expect
from serving import running

if TYPE_CHECKING:
    from conftest import Demo, StartDemo

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class FirstChapter:
    url: str


def is_heartbeat(frame: str | bytes) -> bool:
    return frame == '{"type":"heartbeat"}'


async def test_echo(shared_demo: "Demo", open_tab: OpenTab) -> None:
    page = await open_tab(shared_demo)
    log = page.get_by_role("log", name="System messages")
    await expect(log).to_contain_text("Connected")
    await page.get_by_label("Ask the server for an echo").fill("Is anybody there?")
    await page.get_by_role("button", name="Echo").click()
    await expect(log).to_contain_text("Echo: Is anybody there?")
    await keep_screenshot(page, "system", "system", docs="system")


async def test_parts_appear_when_the_server_has_them(
    start_demo: "StartDemo", open_tab: OpenTab, tmp_path: Path
) -> None:
    """This is the page during the tutorial: what is not built yet is not broken."""
    with running("uvicorn-sansio", "first_chapter:application", tmp_path, ready="/") as server:
        url = f"http://127.0.0.1:{server.port}"
        page = await open_tab(FirstChapter(url), prepare=lambda page: page.clock.install())
        await expect(state(page, "system")).to_have_text("Live")
        for card in CARDS[1:]:
            await expect(state(page, card)).to_have_text("Not there yet")
            part = page.locator(f"#{card}")
            await expect(part).to_contain_text("This part is not there yet")
            await expect(part.locator(".card-body")).to_be_hidden()
        await expect(page.locator("#jobs .absent")).to_contain_text("Nothing answers at /ws/jobs")
        await expect(page.get_by_role("status").first).to_have_text("1 live, 5 not there yet")
        await expect(page.locator("#strip")).to_be_hidden()
        assert await page.evaluate(LOW_CONTRAST) == []
        await keep_screenshot(page, "first-chapter")
        # It may be asked for, and the answer is still the same.
        await page.locator("#jobs").get_by_role("button", name="Look now").click()
        await expect(state(page, "jobs")).to_have_text("Not there yet")
        # From now on, no pause ends by itself.
        await page.clock.pause_at(await page.evaluate("Date.now() / 1000 + 20"))
    await expect(state(page, "system")).to_have_text("Offline")
    start_demo(server.port)
    # One connection that is back is reason enough to look for what was not there.
    await page.locator("#system").get_by_role("button", name="Try now").click()
    await all_live(page)
    await expect(page.locator("#jobs .card-body")).to_be_visible()


async def test_page_comes_back_after_the_server_does(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo, size=(1240, 720))
    grace = await open_tab(demo, name="Grace", scheme="dark")
    await in_room(ada, 2)
    await in_room(grace, 2)
    await all_live(ada)
    await say(ada, "See you after the restart")

    assert demo.stop()[0] == 0
    for card in CARDS:
        await expect(state(ada, card)).to_have_text("Offline")
        try_now = ada.locator(f"#{card}").get_by_role("button", name="Try now")
        await expect(try_now).to_be_visible()
    await expect(ada.get_by_role("status").first).to_have_text("Offline")
    await message_box(ada).fill("I am still here")
    await ada.keyboard.press("Enter")
    await expect(ada.locator("#room .alert")).to_contain_text("You are not connected.")
    assert await ada.evaluate(LOW_CONTRAST) == []
    assert await grace.evaluate(LOW_CONTRAST) == []
    await keep_screenshot(ada, "reconnecting", docs="reconnecting")
    await keep_screenshot(grace, "reconnecting-dark")

    start_demo(demo.port)
    await all_live(ada)
    await all_live(grace)
    await in_room(ada, 2)
    await in_room(grace, 2)
    await expect(ada.locator("#room .alert")).to_be_empty()
    await expect(ada.locator("#room .notice", has_text="You are back")).to_be_visible()
    await expect(ada.get_by_role("button", name="Send again")).to_have_count(0)
    await expect(message_box(ada)).to_have_value("I am still here")
    await message_box(ada).press("Enter")
    await expect(grace.locator("#room .bubble")).to_have_text(
        ["See you after the restart", "I am still here"]
    )


async def test_page_answers_heartbeats(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo(heartbeat_interval=0.2)
    sockets: dict[str, WebSocket] = {}

    def keep(socket: WebSocket) -> None:
        sockets[socket.url] = socket

    async def prepare(page: Page) -> None:
        page.on("websocket", keep)

    ada = await open_tab(demo, prepare=prepare)
    await all_live(ada)
    assert len(sockets) == len(CARDS)
    for socket in sockets.values():
        # The server asks again when it was answered.
        for _ in range(2):
            await socket.wait_for_event("framereceived", is_heartbeat)
            await socket.wait_for_event("framesent", is_heartbeat)
    await all_live(ada)
    assert len(sockets) == len(CARDS)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that halts a process")
async def test_page_leaves_a_server_that_is_silent(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo, prepare=lambda page: page.clock.install())
    await all_live(ada)
    demo.process.send_signal(signal.SIGSTOP)
    # From here on no time passes by itself.
    await ada.clock.pause_at(await ada.evaluate("Date.now() / 1000 + 20"))
    for card in CARDS:
        await expect(state(ada, card)).to_have_text("Live")
    await ada.clock.fast_forward(11_000)
    for card in CARDS:
        await expect(state(ada, card)).to_have_text("Offline")
    demo.process.send_signal(signal.SIGCONT)
    await ada.clock.resume()
    await all_live(ada)


async def test_page_comes_back_when_the_server_says(shared_demo: "Demo", open_tab: OpenTab) -> None:
    open_ones = asyncio.Queue[tuple[WebSocketRoute, WebSocketRoute]]()
    opened = 0

    async def prepare(page: Page) -> None:
        await page.clock.install()
        await page.route_web_socket("**/ws/rooms/**", keep)

    def keep(route: WebSocketRoute) -> None:
        nonlocal opened
        opened += 1
        ends = (route, route.connect_to_server())
        if opened <= 2:
            # What the server says comes once the page's end is open, too.
            ends[1].on_message(lambda _: open_ones.put_nowait(ends))

    ada = await open_tab(shared_demo, prepare=prepare)
    countdown = ada.locator("#room .countdown")

    async def end_and_see_it_wait() -> None:
        route, server = await asyncio.wait_for(open_ones.get(), 60)
        await server.close()
        await route.close(code=1012, reason='{"retry_after": 40}')
        await expect(countdown).to_have_text(re.compile(r"retrying in [34]\d s"))
        await expect(ada.get_by_role("status").first).to_have_text("5 of 6 parts live")
        # Long after the page would have come back by itself, it still waits.
        await ada.clock.fast_forward(15_000)
        await expect(countdown).to_have_text(re.compile(r"retrying in [12]\d s"))

    await end_and_see_it_wait()
    await ada.clock.fast_forward(27_000)
    await end_and_see_it_wait()
    # A person may know better.
    await ada.locator("#room").get_by_role("button", name="Try now").press("Enter")
    await in_room(ada, 1)
    await expect(message_box(ada)).to_be_focused()


async def test_keyboard_is_enough(shared_demo: "Demo", open_tab: OpenTab) -> None:
    page = await open_tab(shared_demo)
    await all_live(page)
    keys = page.keyboard

    await keys.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the message box")).to_be_focused()
    await keys.press("Enter")
    await expect(message_box(page)).to_be_focused()
    await keys.type("First line")
    await keys.press("Shift+Enter")
    await keys.type("second line")
    await keys.press("Enter")
    await expect(page.locator("#room .bubble")).to_have_text(
        "First line\nsecond line", use_inner_text=True
    )
    await expect(message_box(page)).to_have_value("")

    # Every control, by Tab alone, in the order in which it is read.
    async def tab_to(label: str) -> None:
        control = page.get_by_label(label).or_(page.get_by_role("button", name=label)).first
        for _ in range(8):
            await keys.press("Tab")
            if await control.evaluate("element => element === document.activeElement"):
                return
        pytest.fail(f"{label} is not where it is read")

    await page.evaluate("document.activeElement.blur()")
    await page.get_by_role("link", name="Skip to the message box").focus()
    await tab_to("Ask the server for an echo")
    await keys.type("hello")
    await keys.press("Enter")
    await expect(page.get_by_role("log", name="System messages")).to_contain_text("Echo: hello")
    await tab_to("Your name")
    await tab_to("Go to a room")
    await tab_to("Text to count the words of")
    await tab_to("Start a report")
    await tab_to("Start one that fails")
    await keys.press("Space")
    await expect(page.get_by_text("Job that fails")).to_be_visible()
    await tab_to("Reliable message")
    await keys.type("By the keys")
    await keys.press("Enter")
    await expect(page.locator("#reliable .bubble")).to_have_text("By the keys")
    await tab_to("Level")
    await keys.press("ArrowDown")
    await tab_to("Tell every page")
    await keys.type("Keys are enough")
    await keys.press("Enter")
    notification = page.locator(".notification")
    await expect(notification).to_contain_text("Keys are enough")
    await expect(notification).to_contain_text("Warning")

    await page.get_by_label("Go to a room").focus()
    await keys.type("garden")
    await keys.press("Enter")
    await expect(page.get_by_role("heading", name="Room chat")).to_contain_text("garden")
    await expect(message_box(page)).to_be_focused()
    await in_room(page, 1)


async def test_phone(shared_demo: "Demo", open_tab: OpenTab) -> None:
    ada = await open_tab(shared_demo)
    phone = await open_tab(shared_demo, name="Linus", size=(360, 740), scheme="dark")
    await all_live(phone)
    await in_room(phone, 2)
    await phone.get_by_label("Text to count the words of").fill("z" * 200)
    await phone.keyboard.press("Enter")
    await say(ada, "A long word: " + "x" * 300)
    await say(phone, "👋 from the train")
    for label in ("Ask the server for an echo", "Reliable message", "Tell every page"):
        await phone.get_by_label(label).fill("y" * 200)
        await phone.keyboard.press("Enter")
    await expect(phone.locator("#room .message")).to_have_count(2)
    await expect(phone.locator("#system-lines")).to_contain_text("y" * 200)
    await expect(phone.locator("#reliable .bubble")).to_have_count(1)
    await expect(phone.locator(".notification")).to_have_count(1)
    await expect(phone.locator(".job-result")).to_contain_text("1 word")
    for part in ("html", *(f"#{card}" for card in CARDS), ".log", ".scroller"):
        for each in await phone.locator(part).all():
            overflow = "element => element.scrollWidth - element.clientWidth"
            assert await each.evaluate(overflow) == 0, part
    await keep_screenshot(phone, "phone-long-words")
    assert await phone.evaluate(LOW_CONTRAST) == []


async def test_hostile_text_is_inert(shared_demo: "Demo", open_tab: OpenTab) -> None:
    """Any dialog, script error or breach of the policy fails this in open_tab, too."""
    hostile = "<img/src=x/onerror=\"alert('pwned')\"><script>alert(1)</script>"
    name = "<b onclick=alert(2)>Eve</b>"
    ada = await open_tab(shared_demo)
    eve = await open_tab(shared_demo, name=name)
    for page in (ada, eve):
        await all_live(page)
        await in_room(page, 2)
    for label in (
        "Text to count the words of",
        "Ask the server for an echo",
        "Reliable message",
        "Tell every page",
    ):
        await eve.get_by_label(label).fill(hostile)
        await eve.keyboard.press("Enter")
    await say(eve, hostile)

    for heard in (ada.locator("#room .message"), ada.locator("#reliable .message")):
        await expect(heard.locator(".bubble")).to_have_text(hostile)
        await expect(heard.locator(".author")).to_have_text(name)
    await expect(ada.locator("#people")).to_contain_text(name)
    await expect(ada.locator(".notification-text")).to_have_text(hostile)
    await expect(eve.locator("#system-lines")).to_contain_text(hostile)
    await expect(eve.locator(".job-text")).to_have_text(hostile)
    await expect(eve.locator(".job-result")).to_contain_text(f"longest '{hostile}'")
    for page in (ada, eve):
        await expect(page.locator("main :is(img, script, b)")).to_have_count(0)
    await keep_screenshot(eve, "hostile-text")

    await eve.get_by_label("Go to a room").fill("<img src=x onerror=alert(3)>")
    await eve.keyboard.press("Enter")
    await expect(eve.locator("#room .alert")).to_contain_text("A room name has 1 to 40 letters")
    await expect(eve.locator("main :is(img, script, b)")).to_have_count(0)
