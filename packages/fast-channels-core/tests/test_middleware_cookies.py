from collections.abc import MutableMapping
from typing import Any

import pytest

from fast_channels.middleware import BaseMiddleware, CookieMiddleware
from fast_channels.types import Receive, Scope, Send


class Recorder:
    """An application that keeps what it was called with."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "seen", "event": await receive()})


async def call(app: BaseMiddleware, scope: Scope) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "event"}

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    return sent


async def test_base_middleware_passes_everything_through() -> None:
    inner = Recorder()
    scope: Scope = {"type": "anything", "list": []}
    sent = await call(BaseMiddleware(inner), scope)
    assert sent == [{"type": "seen", "event": {"type": "event"}}]
    assert inner.scopes == [scope]
    inner.scopes[0]["more"] = 1
    assert "more" not in scope


async def test_derived_middleware_adds_to_the_scope() -> None:
    class UserMiddleware(BaseMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await super().__call__({**scope, "user": "ann"}, receive, send)

    inner = Recorder()
    scope: Scope = {"type": "websocket"}
    await call(UserMiddleware(app=inner), scope)
    assert inner.scopes == [{"type": "websocket", "user": "ann"}]
    assert scope == {"type": "websocket"}


@pytest.mark.parametrize("kind", ["websocket", "http"])
async def test_cookies_are_parsed(kind: str) -> None:
    inner = Recorder()
    scope: Scope = {"type": kind, "headers": [(b"cookie", b"a=1; b=2")]}
    await call(CookieMiddleware(inner), scope)
    assert inner.scopes[0]["cookies"] == {"a": "1", "b": "2"}
    assert "cookies" not in scope


async def test_cookies_are_there_without_a_header() -> None:
    inner = Recorder()
    await call(CookieMiddleware(inner), {"type": "websocket", "headers": []})
    assert inner.scopes[0]["cookies"] == {}


async def test_cookies_in_the_scope_are_kept() -> None:
    inner = Recorder()
    scope: Scope = {"type": "http", "headers": [(b"cookie", b"a=1")], "cookies": {"b": "2"}}
    await call(CookieMiddleware(inner), scope)
    assert inner.scopes[0]["cookies"] == {"b": "2"}


async def test_lifespan_has_no_cookies() -> None:
    inner = Recorder()
    await call(CookieMiddleware(inner), {"type": "lifespan"})
    assert inner.scopes == [{"type": "lifespan"}]
