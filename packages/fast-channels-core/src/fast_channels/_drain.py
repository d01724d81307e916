"""One drain of an event loop: its connections end, bit by bit and in good time."""

import asyncio
import logging
import math
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fast_channels.consumer._close_frame import SERVICE_RESTART
from fast_channels.consumer._live import LiveConnections, retry_reason
from fast_channels.layers.registry import close_channel_layers

if TYPE_CHECKING:
    from fast_channels.consumer._connection import Connection

logger = logging.getLogger("fast_channels.draining")

GRACE: Final = 2.0
"""Seconds from the deadline to the end of the drain, whatever handlers do."""

LAYERS_GRACE: Final = 0.5
"""Seconds of these that are left for closing the layers."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the connections that a drain has met."""

    connections: int
    """How many there were."""
    aborted: int
    """Of these, how many had not ended at the deadline, so that their handlers were cancelled."""
    stuck: int
    """Of these, how many did not even end then."""
    seconds: float
    """How long the drain took."""


@dataclass(frozen=True, slots=True)
class DrainOptions:
    """See :func:`fast_channels.draining.drain`."""

    timeout: float
    jitter: float
    batch: int

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.timeout), ("jitter", self.jitter)):
            if isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
                raise TypeError(f"{name} must be a number of seconds, not {value!r}")
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is a number of seconds, not negative; this is {value!r}")
        if isinstance(self.batch, bool) or not isinstance(self.batch, int):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"batch must be an int, not {self.batch!r}")
        if self.batch < 1:
            raise ValueError(f"batch is a number of connections, 1 or more; this is {self.batch!r}")


class Drain:
    """Closes the gate of a loop when it is made, and ends what is behind it.

    A task that calls :meth:`join` may be a handler of one of these connections. Such a connection
    is told like any other, and nobody waits for it.
    """

    def __init__(self, live: LiveConnections, options: DrainOptions) -> None:
        self._live = live
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._met = len(live.connections)
        self._callers: set[Connection] = set()
        self._empty = asyncio.Event()
        live.close(self)
        # Its owner is the loop: whoever asked for it may be cancelled, and others may join.
        self.task: asyncio.Task[DrainReport] = self._loop.create_task(self._run())

    async def join(self) -> DrainReport:
        """Wait for the end. Cancelling the caller does not stop the drain."""
        task = asyncio.current_task()
        self._callers.update(c for c in self._live.connections if c.is_run_by(task))
        self.left()
        return await asyncio.shield(self.task)

    # What the gate does.

    def came(self, connection: "Connection", /) -> None:
        self._met += 1
        self._empty.clear()
        connection.drain(self.retry_after())

    def left(self) -> None:
        if len(self._live.connections) <= len(self._callers) and not self._open():
            self._empty.set()

    def retry_after(self) -> float:
        return round(random.uniform(0, self._options.jitter), 1)  # noqa: S311  # no secret

    # The drain.

    def _open(self) -> Collection["Connection"]:
        """The connections that have not ended, without those of the callers."""
        connections = self._live.connections
        return connections.keys() - self._callers if self._callers else connections

    async def _run(self) -> DrainReport:
        begun_at = self._loop.time()
        deadline = begun_at + self._options.timeout
        end = deadline + GRACE
        logger.info("draining %d connections", self._met)
        self.left()
        await self._tell_all(begun_at)
        aborted = stuck = 0
        if not await self._all_left(deadline):
            aborted = self._abort_all()
            if not await self._all_left(end - LAYERS_GRACE):
                stuck = len(self._open())
                logger.error("%d connections do not end: %s", stuck, _names(self._open()))
        await close_layers(end)
        report = DrainReport(self._met, aborted, stuck, self._loop.time() - begun_at)
        logger.info("drained: %s", report)
        return report

    async def _tell_all(self, begun_at: float) -> None:
        """Tell the connections that the time has come, in batches from now to the deadline."""
        size, connections = self._options.batch, list(self._live.connections)
        # So the last batch has as much time as there is between two.
        interval = self._options.timeout / math.ceil(len(connections) / size) if connections else 0
        for number, start in enumerate(range(0, len(connections), size)):
            if number and await self._all_left(begun_at + number * interval):
                return
            for connection in connections[start : start + size]:
                connection.drain(self.retry_after())

    async def _all_left(self, by: float) -> bool:
        """Wait for the end of the last connection, until that time of the loop's clock."""
        try:
            async with asyncio.timeout_at(by):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _abort_all(self) -> int:
        remaining = list(self._open())
        logger.warning(
            "%d connections have not ended in %g s, so their handlers are cancelled: %s",
            len(remaining),
            self._options.timeout,
            _names(remaining),
        )
        for connection in remaining:
            connection.abort(SERVICE_RESTART, retry_reason(self.retry_after()))
        return len(remaining)


async def close_layers(by: float) -> None:
    """Close the registered layers, until that time of the loop's clock; failures are logged."""
    try:
        async with asyncio.timeout_at(by):
            await close_channel_layers()
    except Exception as error:
        logger.error("the channel layers could not be closed: %r", error, exc_info=error)


def _names(connections: Iterable["Connection"], most: int = 10) -> str:
    names = [connection.identity() for connection in connections]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
