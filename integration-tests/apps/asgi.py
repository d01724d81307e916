"""What an application without a framework owes to its server."""

from collections.abc import Mapping

from fast_channels.layers import close_channel_layers
from fast_channels.types import ASGIApp, Receive, Scope, Send


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Close the layers in the end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await close_channel_layers()
    await send({"type": "lifespan.shutdown.complete"})


def routed(routes: Mapping[str, ASGIApp]) -> ASGIApp:
    """One application out of several, by path."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(scope, receive, send)
        else:
            await routes[scope["path"]](scope, receive, send)

    return application
