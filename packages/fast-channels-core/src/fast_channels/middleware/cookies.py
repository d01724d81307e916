"""Cookies for applications inside."""

from fast_channels._cookies import parse_cookies
from fast_channels.types import Receive, Scope, Send

from .base import BaseMiddleware

__all__ = ["CookieMiddleware"]


class CookieMiddleware(BaseMiddleware):
    """Puts the cookies of WebSocket and HTTP connections into ``scope["cookies"]``.

    Consumers have them without it; it is for middleware that needs them earlier, and for other
    applications. Cookies that are in the scope already are left alone.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("websocket", "http") and "cookies" not in scope:
            scope = {**scope, "cookies": parse_cookies(scope["headers"])}
        await super().__call__(scope, receive, send)
