"""What many callers send to one group at once goes to Redis in one call."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, TypeAlias

from fast_channels.layers.broker import Node

_MOST: Final = 256
_MOST_BYTES: Final = 256 * 1024
"""What one call may hold, because the server does nothing else meanwhile."""

SendAll: TypeAlias = Callable[[str, Sequence[bytes]], Coroutine[Any, Any, None]]


class Batches:
    """Collects what is sent to each group within one round of the event loop.

    Most of what a call costs, the server as well as the sender, does not depend on how many
    messages it has. A message that is alone is sent by its caller and waits for nobody.
    """

    def __init__(self, node: Node, send_all: SendAll) -> None:
        """``send_all``: sends messages to a group, in their order."""
        self._node = node
        self._send_all = send_all
        self._open: dict[str, _Batch] = {}

    async def send(self, group: str, data: bytes) -> None:
        """Raises what ``send_all`` raised for the batch that has this message."""
        batch = self._open.get(group)
        if batch is not None:
            await batch.join(data)
            return
        batch = self._open[group] = _Batch(data)
        try:
            await asyncio.sleep(0)
        finally:
            del self._open[group]
            if batch.waiters:
                # A task, because any of the callers may give up while others wait.
                batch.task = self._node.share(self._send(group, batch))
        if batch.task is None:
            await self._send_all(group, batch.messages)
        else:
            await batch.wait()

    async def _send(self, group: str, batch: "_Batch") -> None:
        try:
            # Begun in their order, which is that of the commands then.
            await asyncio.gather(*(self._send_all(group, part) for part in _parts(batch.messages)))
        except OSError as error:
            batch.end(error)
        except BaseException:
            batch.end(ConnectionError("the connection was closed"))
            raise
        else:
            batch.end(None)


class _Batch:
    def __init__(self, first: bytes) -> None:
        self.messages: Final = [first]
        self.waiters: Final[list[asyncio.Future[None]]] = []
        self.task: asyncio.Task[None] | None = None
        self._waiting = 0

    async def join(self, data: bytes) -> None:
        self.messages.append(data)
        await self.wait()

    async def wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        self._waiting += 1
        try:
            await waiter
        finally:
            self._waiting -= 1
            if not self._waiting and self.task is not None:
                # If all have given up, nothing more is sent for them.
                self.task.cancel()

    def end(self, error: OSError | None) -> None:
        for waiter in self.waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
                waiter.exception()  # Whoever waited may be gone.


def _parts(messages: list[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for message in messages:
        if part and (len(part) >= _MOST or size + len(message) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message)
    yield part
