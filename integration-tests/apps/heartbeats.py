"""The consumer that ends in every way, with heartbeats for clients with and without patience."""

from asgi import lifespan
from reporting import report_log

from consumers import Control, Ending
from fast_channels.layers import InMemoryChannelLayer, register_channel_layer
from fast_channels.types import Receive, Scope, Send

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))


class Patient(Ending):
    heartbeat_interval = 0.3
    heartbeat_timeout = 60.0


class Strict(Ending):
    heartbeat_interval = 0.5
    heartbeat_timeout = 0.5


routes = {
    "/patient": Patient.as_asgi(),
    "/strict": Strict.as_asgi(),
    "/control": Control.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    else:
        await routes[scope["path"]](scope, receive, send)
