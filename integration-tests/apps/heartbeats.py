"""The consumer that ends in every way, with heartbeats for clients with and without patience."""

from asgi import routed
from consumers import Control, Ending
from reporting import report_log

from fast_channels.layers import InMemoryChannelLayer, register_channel_layer

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))


class Patient(Ending):
    heartbeat_interval = 0.3
    heartbeat_timeout = 60.0


class Strict(Ending):
    heartbeat_interval = 0.5
    heartbeat_timeout = 0.5


application = routed(
    {
        "/patient": Patient.as_asgi(),
        "/strict": Strict.as_asgi(),
        "/control": Control.as_asgi(),
    }
)
