"""What the conformance suite is told of both layers, and how it gets at their servers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from redis_servers import RedisServer

from fast_channels_testing.layers import SUPPORTED, Capabilities, NotSupported

QUEUE: Final = Capabilities(
    general_channels=SUPPORTED,
    general_capacity=SUPPORTED,
    general_members=NotSupported("a general channel has no process that would answer for it"),
    remote_capacity=NotSupported("what a full channel misses is counted in its own process"),
    remote_members=SUPPORTED,
    total_order=SUPPORTED,
    processes=SUPPORTED,
    event_loops=SUPPORTED,
    sync_calls=SUPPORTED,
    fork=SUPPORTED,
    message_limit=SUPPORTED,
    encryption=SUPPORTED,
    flush=SUPPORTED,
    broker_restart=SUPPORTED,
    broker_pause=SUPPORTED,
    keeps_general_messages=SUPPORTED,
    keeps_group_messages=SUPPORTED,
    redelivery=SUPPORTED,
)

PUB_SUB: Final = replace(
    QUEUE, keeps_group_messages=NotSupported("Redis keeps what is published for nobody")
)

KEEPS_DATA: Final[dict[str, object]] = {"appendonly": "yes", "appendfsync": "no"}
"""The configuration of servers that have after a kill what they had confirmed."""


class Servers:
    """Data servers that are one broker to the suite. They keep their data."""

    def __init__(self, *servers: RedisServer) -> None:
        self._servers: Sequence[RedisServer] = servers

    def stop(self) -> None:
        for server in self._servers:
            server.kill()

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def pause(self) -> None:
        for server in self._servers:
            server.freeze()

    def resume(self) -> None:
        for server in self._servers:
            server.thaw()

    def restore(self) -> None:
        """Let all of them run, whatever a test has done."""
        for server in self._servers:
            if not server.running:
                server.start()
            elif server.frozen:
                server.thaw()
