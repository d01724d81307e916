"""ASGI middleware for consumers; each works in front of any ASGI application."""

from .base import BaseMiddleware as BaseMiddleware
from .cookies import CookieMiddleware as CookieMiddleware
from .websocket import OriginValidator as OriginValidator
from .websocket import WebsocketDenier as WebsocketDenier

__all__ = ["BaseMiddleware", "CookieMiddleware", "OriginValidator", "WebsocketDenier"]
