"""What middleware of your own can derive from."""

from fast_channels.types import ASGIApp, Receive, Scope, Send

__all__ = ["BaseMiddleware"]


class BaseMiddleware:
    """An ASGI application around another one, ``self.inner``.

    Override ``__call__`` and go on with ``super()``. Change a copy of the scope, never the
    one that was given: servers and outer middleware hold on to it::

        class UserMiddleware(BaseMiddleware):
            async def __call__(self, scope, receive, send):
                scope = {**scope, "user": await find_user(scope["cookies"])}
                await super().__call__(scope, receive, send)

    Every kind of connection passes through, lifespan included: look at ``scope["type"]``.
    """

    inner: ASGIApp
    """The application inside."""

    # Called ``app`` because Starlette's add_middleware() gives it by that name.
    def __init__(self, app: ASGIApp) -> None:
        self.inner = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a copy of the scope to the application inside."""
        await self.inner(dict(scope), receive, send)
