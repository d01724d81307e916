"""The page of the demo in tabs of a real Chromium, for the modules that test it.

Screenshots go to `artifacts/` beside this file, to be looked at. Those of the documentation are
written anew with FAST_CHANNELS_SCREENSHOTS=docs/images; a palette of 256 colours then makes them a
third as large, and nobody sees it.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Literal, Protocol

import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FloatRect,
    Locator,
    Page,
    Request,
    expect,
)

ARTIFACTS = Path(__file__).parent / "artifacts"
expect.set_options(timeout=60_000)  # for slow machines; nothing here takes as long

MARGIN = 8
CARDS = ("system", "room", "jobs", "reliable", "notifications", "counters")

LOW_CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (colour) => {
    const [r, g, b] = [...colour].map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = rgba(getComputedStyle(element).backgroundColor);
    return colour[3] === 255 ? colour : behind(element.parentElement);
  };
  const ratio = (element, pseudo) => {
    const text = luminance(rgba(getComputedStyle(element, pseudo).color));
    const [dark, light] = [text, luminance(behind(element))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const found = [];
  const check = (element, words, pseudo) => {
    const each = ratio(element, pseudo);
    if (each < 4.5) found.push(`${words.trim()}: ${each.toFixed(2)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode()); ) {
    const element = text.parentElement;
    if (text.data.trim() && element.checkVisibility()) check(element, text.data);
  }
  for (const field of document.querySelectorAll("[placeholder]")) {
    if (field.checkVisibility()) check(field, field.placeholder, "::placeholder");
  }
  return found;
}"""
"""Texts with less contrast than WCAG 2 wants for its level AA."""


class Served(Protocol):
    """What serves the page."""

    @property
    def url(self) -> str: ...


class OpenTab(Protocol):
    async def __call__(
        self,
        demo: Served,
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
        demo: Served,
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


def state(page: Page, card: str) -> Locator:
    """What the card says of its connection."""
    return page.locator(f"#{card} .state")


async def all_live(page: Page) -> None:
    await expect(page.get_by_role("status").first).to_have_text(f"All {len(CARDS)} parts live")
    for card in CARDS:
        await expect(state(page, card)).to_have_text("Live")


async def in_room(page: Page, people: int) -> None:
    """The room's card is live, and so many people are in the room."""
    await expect(state(page, "room")).to_have_text("Live")
    word = "person" if people == 1 else "people"
    await expect(page.locator("#room-count")).to_have_text(f"{people} {word} here")
    await expect(page.locator("#people li")).to_have_count(people)


def message_box(page: Page) -> Locator:
    return page.get_by_label("Message", exact=True)


async def say(page: Page, text: str) -> None:
    """Write and click, and see it come back from the server."""
    await message_box(page).fill(text)
    await page.locator("#room-composer").get_by_role("button", name="Send").click()
    mine = page.locator("#room .message.own").last
    await expect(mine.locator(".bubble")).to_have_text(text)
    await expect(mine).not_to_have_class(re.compile("sending"))


async def keep_screenshot(
    page: Page, name: str, *cards: str, whole: bool = False, docs: str = ""
) -> None:
    """Of cards, the whole page, or what is in sight; ``docs``: its name in the documentation."""
    paths = [ARTIFACTS / f"{name}.png"]
    if docs and (folder := os.environ.get("FAST_CHANNELS_SCREENSHOTS")):
        paths.append(Path(folder, f"{docs}.png"))
    await page.evaluate("scrollTo(0, 0)")
    await page.mouse.move(0, 0)
    clip = await around(page, cards) if cards else None
    for path in paths:
        await page.screenshot(
            path=path, animations="disabled", full_page=whole or bool(cards), clip=clip
        )
        print(f"screenshot: {path}")


async def around(page: Page, cards: Iterable[str]) -> FloatRect:
    """The rectangle in which the cards are, and a little of what is behind them."""
    boxes = [await page.locator(f"#{card}").bounding_box() for card in cards]
    found = [box for box in boxes if box is not None]
    left, top = (min(box[side] for box in found) - MARGIN for side in ("x", "y"))
    right = max(box["x"] + box["width"] for box in found) + MARGIN
    bottom = max(box["y"] + box["height"] for box in found) + MARGIN
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}
