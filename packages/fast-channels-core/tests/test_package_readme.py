import asyncio
import json
import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, cast

from fast_channels.layers import (
    InMemoryChannelLayer,
    close_channel_layers,
    unregister_channel_layer,
)
from fast_channels.layers._background import stop as stop_background
from fast_channels.types import ASGIApp, Scope

Frames = asyncio.Queue[MutableMapping[str, Any]]


def examples() -> list[str]:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", readme, re.DOTALL)


def example() -> ASGIApp:
    code = examples()[0]
    names: dict[str, object] = {}
    exec(code, names)
    return cast(ASGIApp, names["application"])


async def test_the_example_of_the_readme_is_a_chat_room() -> None:
    application = example()
    clients: list[tuple[Frames, Frames, asyncio.Task[None]]] = []
    try:
        for _ in range(2):
            to_application: Frames = asyncio.Queue()
            from_application: Frames = asyncio.Queue()
            scope: Scope = {"type": "websocket", "path": "/", "headers": [], "subprotocols": []}
            to_application.put_nowait({"type": "websocket.connect"})
            running = application(scope, to_application.get, from_application.put)
            task = asyncio.ensure_future(running)
            clients.append((to_application, from_application, task))
            assert (await from_application.get())["type"] == "websocket.accept"

        clients[0][0].put_nowait({"type": "websocket.receive", "text": '"hello"'})
        for _, from_application, _ in clients:
            frame = await from_application.get()
            assert json.loads(frame["text"]) == {"said": "hello"}

        for to_application, _, task in clients:
            to_application.put_nowait({"type": "websocket.disconnect", "code": 1000})
            await task
    finally:
        await close_channel_layers()
        unregister_channel_layer("default")


async def test_the_example_of_server_sent_events(default_layer: InMemoryChannelLayer) -> None:
    names: dict[str, object] = {}
    exec(examples()[1], names)
    application = cast(ASGIApp, names["news"])
    to_application: Frames = asyncio.Queue()
    from_application: Frames = asyncio.Queue()
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    to_application.put_nowait({"type": "http.request"})
    running = asyncio.ensure_future(application(scope, to_application.get, from_application.put))
    assert (await from_application.get())["status"] == 200
    assert (await from_application.get())["body"] == b""
    message = {"type": "sse.event", "data": "It rains.", "id": "42"}
    await default_layer.group_send("news", message)
    assert (await from_application.get())["body"] == b"id: 42\ndata: It rains.\n\n"
    to_application.put_nowait({"type": "http.disconnect"})
    await running


async def test_the_example_of_a_blocking_call_sends(default_layer: InMemoryChannelLayer) -> None:
    channel = await default_layer.new_channel()
    await default_layer.group_add("lobby", channel)
    _, _, code = examples()
    await asyncio.to_thread(exec, code, {})
    assert (await default_layer.receive(channel))["text"] == "from a thread"
    await asyncio.to_thread(stop_background)
