"""What an application without a framework owes to its server."""

from fast_channels.layers import close_channel_layers
from fast_channels.types import Receive, Scope, Send


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """Close the layers in the end."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await close_channel_layers()
    await send({"type": "lifespan.shutdown.complete"})
