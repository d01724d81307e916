"""The chat as people use it: a real server, a real Chromium, several tabs.

Screenshots go to `artifacts/` beside this file, to be looked at.
"""

import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebSocket,
    WebSocketRoute,
    expect,
)

if TYPE_CHECKING:
    from conftest import Demo, StartDemo

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")

ARTIFACTS = Path(__file__).parent / "artifacts"
expect.set_options(timeout=60_000)  # for slow machines; nothing here takes a second


class OpenTab(Protocol):
    async def __call__(
        self,
        demo: "Demo",
        path: str = "/",
        *,
        name: str = "Ada Lovelace",
        scheme: Literal["light", "dark"] = "light",
        size: tuple[int, int] = (1280, 800),
        prepare: Callable[[Page], Awaitable[object]] | None = None,
    ) -> Page: ...


@pytest_asyncio.fixture(loop_scope="module")
async def open_tab(browser: Browser) -> AsyncIterator[OpenTab]:
    """Opens the page as one more person, and watches for what no page of ours may do."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def open_tab(
        demo: "Demo",
        path: str = "/",
        *,
        name: str = "Ada Lovelace",
        scheme: Literal["light", "dark"] = "light",
        size: tuple[int, int] = (1280, 800),
        prepare: Callable[[Page], Awaitable[object]] | None = None,
    ) -> Page:
        width, height = size
        context = await browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": height}
        )
        contexts.append(context)
        page = await context.new_page()

        def on_console(message: ConsoleMessage) -> None:
            # While a server is away, the browser itself reports each failed attempt.
            expected = any(word in message.text for word in ("WebSocket", "net::ERR_CONNECTION"))
            if message.type in ("error", "warning") and not expected:
                complaints.append(f"console: {message.text}")

        def on_request(request: Request) -> None:
            if not request.url.startswith(f"{demo.url}/"):
                complaints.append(f"foreign request: {request.url}")

        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("console", on_console)
        page.on("request", on_request)
        await page.add_init_script(
            f"if (!sessionStorage.name) sessionStorage.name = {json.dumps(name)}"
        )
        if prepare is not None:
            await prepare(page)
        await page.goto(demo.url + path)
        return page

    yield open_tab
    for context in contexts:
        await context.close()
    assert complaints == []


def is_heartbeat(frame: str | bytes) -> bool:
    return frame == '{"type":"heartbeat"}'


async def is_online(page: Page, people: int) -> None:
    await expect(page.locator("#state")).to_have_text("Online")
    word = "person" if people == 1 else "people"
    await expect(page.locator("#count")).to_have_text(f"{people} {word} here")


async def say(page: Page, text: str) -> None:
    """Write and click, and see it come back from the server."""
    await page.get_by_label("Message", exact=True).fill(text)
    await page.get_by_role("button", name="Send", exact=True).last.click()
    mine = page.locator(".message.own").last
    await expect(mine.locator(".bubble")).to_have_text(text)
    await expect(mine).not_to_have_class(re.compile("sending"))


async def keep_screenshot(page: Page, name: str) -> None:
    path = ARTIFACTS / f"{name}.png"
    await page.screenshot(path=path, animations="disabled")
    print(f"screenshot: {path}")


async def test_two_tabs_talk(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    await is_online(ada, 1)
    await expect(ada.locator("#empty")).to_be_visible()
    await keep_screenshot(ada, "empty")

    grace = await open_tab(demo, name="Grace Hopper", scheme="dark")
    await is_online(grace, 2)
    await is_online(ada, 2)
    await expect(ada.locator(".notice", has_text="Grace Hopper joined")).to_be_visible()

    await say(ada, "Good morning, Grace!")
    heard = grace.locator(".message")
    await expect(heard.locator(".bubble")).to_have_text("Good morning, Grace!")
    await expect(heard.locator(".author")).to_have_text("Ada Lovelace")
    await expect(heard.locator(".avatar")).to_have_text("AL")
    await expect(heard).not_to_have_class(re.compile("own"))
    await expect(grace.locator("#empty")).to_be_hidden()

    await say(grace, "Morning.\nHow is the new layer?")
    await expect(ada.locator(".message .bubble").last).to_have_text(
        "Morning.\nHow is the new layer?", use_inner_text=True
    )
    await expect(ada.locator(".message")).to_have_count(2)
    await keep_screenshot(ada, "two-tabs-light")
    await keep_screenshot(grace, "two-tabs-dark")

    await grace.close()
    await expect(ada.locator(".notice", has_text="Grace Hopper left")).to_be_visible()
    await is_online(ada, 1)


async def test_rooms_are_isolated(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    red = await open_tab(demo, "/rooms/red%20room")
    other_red = await open_tab(demo, "/rooms/red%20room", name="Grace")
    blue = await open_tab(demo, "/rooms/bl%C3%A5", name="Linus")
    await is_online(red, 2)
    await is_online(other_red, 2)
    await is_online(blue, 1)

    await say(red, "for red eyes only")
    await expect(other_red.locator(".bubble")).to_have_text("for red eyes only")
    await say(blue, "anybody?")  # would come after the other, had that come here
    await expect(blue.locator(".bubble")).to_have_text(["anybody?"])

    # The list of rooms says who is where, and leads there without loading the page again.
    await expect(blue.get_by_role("link", name="red room")).to_contain_text("2")
    await blue.get_by_role("link", name="red room").click()
    await expect(blue).to_have_url(f"{demo.url}/rooms/red%20room")
    await is_online(blue, 3)
    await expect(blue.locator(".message")).to_have_count(0)
    await say(blue, "Hello, red room")
    await expect(red.locator(".bubble").last).to_have_text("Hello, red room")

    await blue.go_back()
    await expect(blue.get_by_role("heading", level=1)).to_have_text("blå")
    await is_online(blue, 1)
    await expect(red.locator(".notice", has_text="Linus left")).to_be_visible()


async def test_hostile_text_is_inert(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    """Any dialog, script error or breach of the policy fails this in open_tab, too."""
    demo = start_demo()
    hostile = "<img src=x onerror=\"alert('pwned')\"><script>alert(1)</script>"
    name = "<b onclick=alert(2)>Eve</b>"
    ada = await open_tab(demo)
    eve = await open_tab(demo, name=name)
    await is_online(ada, 2)
    await is_online(eve, 2)
    await say(eve, hostile)
    heard = ada.locator(".message")
    await expect(heard.locator(".bubble")).to_have_text(hostile)
    await expect(heard.locator(".author")).to_have_text(name)
    await expect(ada.locator("#people")).to_contain_text(name)
    await expect(ada.locator("#log :is(img, script, b)")).to_have_count(0)
    await expect(ada.locator(".side :is(img, script, b)")).to_have_count(0)
    await keep_screenshot(ada, "hostile-message")


async def test_page_comes_back_after_the_server_does(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    grace = await open_tab(demo, name="Grace", scheme="dark")
    await is_online(ada, 2)
    await is_online(grace, 2)
    await say(ada, "Before")

    assert demo.stop()[0] == 0
    await expect(ada.locator("#state")).to_have_text("Offline")
    await expect(ada.locator("#countdown")).to_have_text(re.compile(r"retrying in \d+ s"))
    await ada.get_by_label("Message", exact=True).fill("Written offline")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_role("alert")).to_contain_text("You are not connected.")
    await expect(grace.locator("#countdown")).to_have_text(re.compile(r"retrying in \d+ s"))
    await keep_screenshot(grace, "offline-dark")

    start_demo(demo.port)
    await is_online(ada, 2)
    await is_online(grace, 2)
    await expect(ada.get_by_role("alert")).to_be_empty()
    await expect(ada.locator(".notice", has_text="You are back")).to_be_visible()
    await expect(ada.get_by_label("Message", exact=True)).to_have_value("Written offline")
    await ada.keyboard.press("Enter")
    await expect(grace.locator(".bubble")).to_have_text(["Before", "Written offline"])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that halts a process")
async def test_message_without_an_answer_can_be_sent_again(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    await is_online(ada, 1)
    demo.process.send_signal(signal.SIGSTOP)
    await ada.get_by_label("Message", exact=True).fill("Can you hear me?")
    await ada.keyboard.press("Enter")
    await expect(ada.locator(".message.sending")).to_have_count(1)
    demo.stop(signal.SIGKILL)
    await expect(ada.locator(".message.failed")).to_contain_text("Perhaps not delivered.")
    await keep_screenshot(ada, "not-delivered")

    start_demo(demo.port)
    await is_online(ada, 1)
    await ada.get_by_role("button", name="Send again").click()
    await expect(ada.locator(".message")).to_have_count(1)
    await expect(ada.locator(".message")).not_to_have_class(re.compile("sending|failed"))
    await expect(ada.get_by_label("Message", exact=True)).to_be_focused()


async def test_page_answers_heartbeats(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo(heartbeat_interval=0.2)
    sockets: dict[str, WebSocket] = {}

    async def prepare(page: Page) -> None:
        page.on("websocket", keep)

    def keep(socket: WebSocket) -> None:
        sockets[socket.url] = socket

    ada = await open_tab(demo, prepare=prepare)
    await is_online(ada, 1)
    assert len(sockets) == 2
    for socket in sockets.values():
        # The server asks again when it was answered.
        for _ in range(3):
            await socket.wait_for_event("framereceived", is_heartbeat)
            await socket.wait_for_event("framesent", is_heartbeat)
    await expect(ada.locator("#state")).to_have_text("Online")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that halts a process")
async def test_page_leaves_a_server_that_is_silent(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo, prepare=lambda page: page.clock.install())
    await is_online(ada, 1)
    demo.process.send_signal(signal.SIGSTOP)
    await ada.clock.fast_forward(20_000)
    await expect(ada.locator("#state")).to_have_text("Online")
    await ada.clock.fast_forward(11_000)
    await expect(ada.locator("#state")).to_have_text("Offline")
    demo.process.send_signal(signal.SIGCONT)
    await is_online(ada, 1)


async def test_page_comes_back_when_the_server_says(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    opened: list[str] = []

    async def end_at_once(route: WebSocketRoute) -> None:
        opened.append(route.url)
        await route.close(code=1012, reason='{"retry_after": 40}')

    async def prepare(page: Page) -> None:
        await page.clock.install()
        await page.route_web_socket("**/ws/rooms/**", end_at_once)

    ada = await open_tab(start_demo(), prepare=prepare)
    await expect(ada.locator("#countdown")).to_have_text(re.compile(r"retrying in 4\d s"))
    assert len(opened) == 1
    await ada.clock.fast_forward(42_000)
    await expect(ada.locator("#countdown")).to_have_text(re.compile(r"retrying in 4\d s"))
    assert len(opened) == 2


async def test_keyboard_is_enough(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    page = await open_tab(demo)
    await is_online(page, 1)
    keys = page.keyboard

    await keys.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the message box")).to_be_focused()
    await keys.press("Enter")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await keys.type("First line")
    await keys.press("Shift+Enter")
    await keys.type("second line")
    await keys.press("Enter")
    await expect(page.locator(".bubble")).to_have_text(
        "First line\nsecond line", use_inner_text=True
    )
    await expect(page.get_by_label("Message", exact=True)).to_have_value("")

    # Every control, by Tab alone, in the order in which it is read.
    await page.evaluate("document.activeElement.blur()")
    await page.get_by_role("link", name="Skip to the message box").focus()
    for label in ("Go to a room", "Your name", "Ask the server for an echo"):
        field = page.get_by_label(label)
        while not await field.evaluate("element => element === document.activeElement"):
            await keys.press("Tab")
            assert await page.evaluate("document.activeElement.id") != "send", label
    await keys.type("hello")
    await keys.press("Enter")
    await expect(page.get_by_role("log", name="System messages")).to_contain_text("Echo: hello")

    await page.get_by_label("Go to a room").focus()
    await keys.type("garden")
    await keys.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("garden")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await is_online(page, 1)


async def test_phone(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    phone = await open_tab(demo, name="Linus", size=(360, 740), scheme="dark")
    await is_online(phone, 2)
    await say(ada, "A long word: " + "x" * 300)
    await say(phone, "👋 from the train")
    await expect(phone.locator(".message")).to_have_count(2)
    for part in ("html", "#log"):
        overflow = "element => element.scrollWidth - element.clientWidth"
        assert await phone.locator(part).evaluate(overflow) == 0, part
    await keep_screenshot(phone, "phone-dark")

    menu = phone.get_by_role("button", name="Rooms and people")
    await expect(phone.get_by_label("Your name")).to_be_hidden()
    await menu.click()
    await expect(menu).to_have_attribute("aria-expanded", "true")
    await phone.get_by_label("Your name").fill("Linus on the train")
    await keep_screenshot(phone, "phone-menu-dark")
    await phone.keyboard.press("Enter")
    await expect(phone.get_by_label("Your name")).to_be_hidden()
    await expect(ada.locator(".notice", has_text="Linus is now Linus on the train")).to_be_visible()
    await expect(ada.locator("#people")).to_contain_text("Linus on the train")

    await menu.click()
    await phone.keyboard.press("Escape")
    await expect(phone.get_by_label("Your name")).to_be_hidden()
    await expect(menu).to_be_focused()


async def test_reading_is_not_disturbed_by_news(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    reader = await open_tab(demo, name="Grace", size=(1000, 600))
    await is_online(ada, 2)
    await is_online(reader, 2)
    for number in range(12):
        await say(ada, f"Line {number}")
    await expect(reader.locator(".bubble").last).to_be_in_viewport()

    await reader.get_by_role("log", name="Messages", exact=True).hover()
    await reader.mouse.wheel(0, -10_000)
    await expect(reader.locator(".bubble").first).to_be_in_viewport()
    await say(ada, "Stop press")
    news = reader.get_by_role("button", name="1 new message")
    await expect(news).to_be_visible()
    await expect(reader.locator(".bubble").first).to_be_in_viewport()
    await keep_screenshot(reader, "new-message-button")
    await news.click()
    await expect(reader.locator(".bubble", has_text="Stop press")).to_be_in_viewport()
    await expect(news).to_be_hidden()


async def test_bad_room_is_explained(start_demo: "StartDemo", open_tab: OpenTab) -> None:
    page = await open_tab(start_demo(), "/rooms/%3F%3F")
    await expect(page.get_by_role("alert")).to_contain_text("A room name has 1 to 40 letters")
    await expect(page.locator("#state")).to_have_text("Not connected")
    await keep_screenshot(page, "bad-room")
    await page.get_by_role("link", name="lobby").click()
    await is_online(page, 1)
    await expect(page.get_by_role("alert")).to_be_empty()
    await page.get_by_label("Go to a room").fill("either/or")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("A room name has 1 to 40 letters")
    await page.go_back()
    await is_online(page, 1)
    await expect(page.get_by_role("alert")).to_be_empty()
