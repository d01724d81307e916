"""A channel layer for Fast Channels that carries messages by NATS."""

import re
from collections.abc import Iterable
from typing import Unpack

from fast_channels.layers import BrokerChannelLayer, BrokerConnection, BrokerOptions, Node
from nats_layer._connection import NatsConnection

__all__ = ["NatsChannelLayer"]


class NatsChannelLayer(BrokerChannelLayer):
    """A layer on NATS 2.10 or later; general channels need its JetStream.

    Groups are subjects of core NATS, and nothing is kept for a process that is cut off: its
    consumers get a ``layer.gap`` event when it is back. General channels are streams, which keep
    their messages on the server's disk. If a receiver or the server dies between the delivery of
    a message and its acknowledgement, it is delivered again: it may come twice.

    ``servers``: URLs of one NATS cluster, ``nats://`` or ``tls://``, with user and password if
    need be. ``prefix``: begins every subject and stream; layers with another one do not meet.
    ``claim_timeout``: seconds after which a message of a general channel goes to another receiver,
    if the one that took it is silent. The rest is as :class:`BrokerChannelLayer` has it; messages
    are limited by the server's ``max_payload``, too.
    """

    def __init__(
        self,
        servers: str | Iterable[str] = "nats://127.0.0.1:4222",
        *,
        prefix: str = "fast_channels",
        claim_timeout: float = 30,
        **options: Unpack[BrokerOptions],
    ) -> None:
        super().__init__(**options)
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", prefix):
            raise ValueError(
                f"prefix is {prefix!r}, expected 1 to 60 letters, digits, hyphens or underscores"
            )
        if not claim_timeout > 0:
            raise ValueError(f"claim_timeout is {claim_timeout!r}, expected seconds above 0")
        self.servers = [servers] if isinstance(servers, str) else list(servers)
        self.prefix = prefix
        self.claim_timeout = claim_timeout

    def make_connection(self, node: Node) -> BrokerConnection:
        return NatsConnection(node, self)
