"""The options that both layers hand to their connections."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from fast_channels_redis._endpoint import Endpoint
from fast_channels_redis._options import ClusterSeeds

Notice: TypeAlias = str | Callable[[], Awaitable[None] | None]
"""What to do when the connection broke or is back: the type of a message that every channel of the
process gets, or a callable without arguments."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Times in seconds."""

    servers: list[Endpoint] | ClusterSeeds
    prefix: str
    expiry: float
    send_timeout: float
    patience: float
    on_disconnect: Notice | None
    on_reconnect: Notice | None
    claim_timeout: float = 60
    max_deliveries: int = 5
    lease: float = 15
    wait_replicas: int = 0
