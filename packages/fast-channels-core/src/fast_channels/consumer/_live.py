"""The connections that run in an event loop, and whether it takes new ones."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from fast_channels.consumer._connection import Connection


class Gate(Protocol):
    """Stands in the door of a loop whose connections are to end."""

    def came(self, connection: "Connection", /) -> None:
        """A connection begins all the same: it was past the door when the gate closed."""

    def left(self) -> None:
        """A connection has ended."""

    def retry_after(self) -> float:
        """Seconds after which a client that is turned away may try again."""
        ...


class LiveConnections:
    """The running connections of one event loop, the oldest first; only that loop touches them."""

    __slots__ = ("__weakref__", "connections", "gate", "on_arrival")

    closed_once: ClassVar[bool] = False
    """Whether there ever was a gate in this process. Until then nobody has to look for one."""

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}
        self.gate: Gate | None = None
        """There once no new connections are taken; see :meth:`close`."""
        self.on_arrival: Callable[[], None] | None = None
        """Called when a connection begins."""

    def close(self, gate: Gate) -> None:
        """Take no new connections."""
        self.gate = gate
        LiveConnections.closed_once = True

    def add(self, connection: "Connection") -> None:
        self.connections[connection] = None
        if self.on_arrival is not None:
            self.on_arrival()
        if self.gate is not None:
            self.gate.came(connection)

    def remove(self, connection: "Connection") -> None:
        del self.connections[connection]
        if self.gate is not None:
            self.gate.left()


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, LiveConnections] = WeakKeyDictionary()
_lock = threading.Lock()


def live_connections(loop: asyncio.AbstractEventLoop | None = None) -> LiveConnections:
    """Those of the running loop; ``loop``, if the caller knows it."""
    if loop is None:
        loop = asyncio.get_running_loop()
    live = _by_loop.get(loop)
    if live is None:
        with _lock:
            live = _by_loop[loop] = LiveConnections()
    return live


def closed_gate() -> Gate | None:
    """That of the running loop."""
    return live_connections().gate if LiveConnections.closed_once else None


def any_gate_is_closed() -> bool:
    """Whether a loop of this process takes no connections any more; any thread may ask."""
    with _lock:
        return any(live.gate is not None for loop, live in _by_loop.items() if not loop.is_closed())


def retry_reason(seconds: float) -> str:
    """The reason in a close frame that tells the client when to come back."""
    return json.dumps({"retry_after": seconds})
