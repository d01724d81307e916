"""The room chat as people use it, in several tabs of a real browser."""

import re
import signal
from typing import TYPE_CHECKING

import pytest
from demo_tabs import OpenTab, in_room, keep_screenshot, message_box, say, state
from demo_tabs import open_tab as open_tab
from playwright.async_api import expect

if TYPE_CHECKING:
    from conftest import Demo, StartDemo

# The browser lives in one event loop for the whole module.
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_two_tabs_talk(shared_demo: "Demo", open_tab: OpenTab) -> None:
    ada = await open_tab(shared_demo)
    await in_room(ada, 1)
    await expect(ada.locator("#room-empty")).to_be_visible()
    await keep_screenshot(ada, "empty")

    grace = await open_tab(shared_demo, name="Grace Hopper", scheme="dark")
    await in_room(grace, 2)
    await in_room(ada, 2)
    await expect(ada.locator("#room .notice", has_text="Grace Hopper joined")).to_be_visible()

    await say(ada, "Good morning, Grace!")
    heard = grace.locator("#room .message")
    await expect(heard.locator(".bubble")).to_have_text("Good morning, Grace!")
    await expect(heard.locator(".author")).to_have_text("Ada Lovelace")
    await expect(heard.locator(".avatar")).to_have_text("AL")
    await expect(heard).not_to_have_class(re.compile("own"))
    await expect(grace.locator("#room-empty")).to_be_hidden()

    await say(grace, "Morning.\nHow is the new layer?")
    await expect(ada.locator("#room .bubble").last).to_have_text(
        "Morning.\nHow is the new layer?", use_inner_text=True
    )
    await say(ada, "Quick, and it tells me when somebody leaves.")
    await expect(ada.locator("#room .message")).to_have_count(3)
    await expect(grace.locator("#room .message")).to_have_count(3)
    await keep_screenshot(ada, "room-chat", "room", docs="room-chat")
    await keep_screenshot(grace, "room-chat-dark", "room")

    await grace.close()
    await expect(ada.locator("#room .notice", has_text="Grace Hopper left")).to_be_visible()
    await in_room(ada, 1)


async def test_rooms_are_isolated(shared_demo: "Demo", open_tab: OpenTab) -> None:
    red = await open_tab(shared_demo, "/rooms/red%20room")
    other_red = await open_tab(shared_demo, "/rooms/red%20room", name="Grace")
    blue = await open_tab(shared_demo, "/rooms/bl%C3%A5", name="Linus")
    await in_room(red, 2)
    await in_room(other_red, 2)
    await in_room(blue, 1)

    await say(red, "for red eyes only")
    await expect(other_red.locator("#room .bubble")).to_have_text("for red eyes only")
    await say(blue, "anybody?")  # would come after the other, had that come here
    await expect(blue.locator("#room .bubble")).to_have_text(["anybody?"])

    # Another room, without loading the page again.
    await blue.evaluate("window.loadedOnce = true")
    await blue.get_by_label("Go to a room").fill("red room")
    await blue.keyboard.press("Enter")
    await expect(blue).to_have_url(f"{shared_demo.url}/rooms/red%20room")
    await in_room(blue, 3)
    await expect(blue.locator("#room .message")).to_have_count(0)
    await say(blue, "Hello, red room")
    await expect(red.locator("#room .bubble").last).to_have_text("Hello, red room")

    await blue.go_back()
    await expect(blue.locator("#room-name")).to_have_text("blå")
    await in_room(blue, 1)
    await expect(red.locator("#room .notice", has_text="Linus left")).to_be_visible()
    await blue.get_by_role("link", name="red room").click()
    await in_room(blue, 3)
    assert await blue.evaluate("window.loadedOnce")


async def test_roll_call(shared_demo: "Demo", open_tab: OpenTab) -> None:
    """There is no table of members anywhere, and all tabs have the same list."""
    tabs = [await open_tab(shared_demo, name=name) for name in ("Ada", "Grace", "Linus")]
    ada, grace, linus = tabs

    async def all_list(*names: str) -> None:
        for tab in tabs:
            await in_room(tab, len(names))
            await expect(tab.locator(".person-name")).to_have_text(names)

    await all_list("Ada", "Grace", "Linus")
    await ada.get_by_label("Your name").fill("Countess")
    await ada.keyboard.press("Enter")
    await all_list("Countess", "Grace", "Linus")
    await expect(ada.locator("#people li", has_text="Countess").locator(".you")).to_be_visible()
    await expect(linus.locator("#room .notice").last).to_contain_text("Ada is now Countess")

    await grace.close()
    tabs.remove(grace)
    await all_list("Countess", "Linus")
    tabs.append(await open_tab(shared_demo, name="Edsger"))  # who learns the new name, too
    await all_list("Countess", "Edsger", "Linus")

    # A name is kept for the tab, also when the page is loaded anew.
    await ada.reload()
    await all_list("Countess", "Edsger", "Linus")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a signal that halts a process")
async def test_message_without_an_answer_can_be_sent_again(
    start_demo: "StartDemo", open_tab: OpenTab
) -> None:
    demo = start_demo()
    ada = await open_tab(demo)
    await in_room(ada, 1)
    demo.process.send_signal(signal.SIGSTOP)
    await message_box(ada).fill("Can you hear me?")
    await ada.keyboard.press("Enter")
    message = ada.locator("#room .message")
    await expect(message).to_have_class(re.compile("sending"))
    demo.stop(signal.SIGKILL)
    await expect(message).to_have_class(re.compile("failed"))
    await expect(message).to_contain_text("Perhaps not delivered.")
    await keep_screenshot(ada, "not-delivered")

    start_demo(demo.port)
    await in_room(ada, 1)
    await ada.get_by_role("button", name="Send again").click()
    await expect(message).to_have_count(1)
    await expect(message).not_to_have_class(re.compile("sending|failed"))
    await expect(message_box(ada)).to_be_focused()


async def test_reading_is_not_disturbed_by_news(shared_demo: "Demo", open_tab: OpenTab) -> None:
    ada = await open_tab(shared_demo)
    reader = await open_tab(shared_demo, name="Grace", size=(1000, 600))
    await in_room(ada, 2)
    await in_room(reader, 2)
    for number in range(12):
        await say(ada, f"Line {number}")
    bubbles = reader.locator("#room .bubble")
    await expect(bubbles).to_have_count(12)
    await reader.locator("#room-composer").scroll_into_view_if_needed()
    await expect(bubbles.last).to_be_in_viewport()

    await reader.get_by_role("log", name="Messages", exact=True).hover()
    await reader.mouse.wheel(0, -10_000)
    await expect(bubbles.first).to_be_in_viewport()
    await say(ada, "Stop press")
    news = reader.get_by_role("button", name="1 new message")
    await expect(news).to_be_visible()
    await expect(bubbles.first).to_be_in_viewport()
    await keep_screenshot(reader, "new-message-button", "room")
    await news.click()
    await expect(bubbles.filter(has_text="Stop press")).to_be_in_viewport()
    await expect(news).to_be_hidden()


async def test_bad_room_is_explained(shared_demo: "Demo", open_tab: OpenTab) -> None:
    page = await open_tab(shared_demo, "/rooms/%3F%3F")
    alert = page.locator("#room").get_by_role("alert")
    await expect(alert).to_contain_text("A room name has 1 to 40 letters")
    await expect(state(page, "room")).to_have_text("Not connected")
    await expect(page.get_by_role("status").first).to_have_text("5 of 6 parts live")
    await keep_screenshot(page, "bad-room", "room")
    await page.get_by_role("link", name="lobby").click()
    await in_room(page, 1)
    await expect(alert).to_be_empty()
    await page.get_by_label("Go to a room").fill("either/or")
    await page.keyboard.press("Enter")
    await expect(alert).to_contain_text("A room name has 1 to 40 letters")
    await page.go_back()
    await in_room(page, 1)
    await expect(alert).to_be_empty()
