"""From one message to the mailboxes of all its receivers, and past them to their sockets.

A frame for the sockets themselves (``websocket.send``) needs no handler, and writing it rarely has
to wait. Waking a task for every write costs a good part of the write, so :func:`notify_all` takes
the first step of a write at once wherever the receiver has nothing else to do. It does so as the
receiver's own task would: with that task current, and in its context. A write that does have to
wait is left for the task to finish.
"""

import asyncio

# Public in spite of the names: "Extending asyncio" documents them for task implementations.
from asyncio import (
    _enter_task,  # pyright: ignore[reportPrivateUsage]
    _leave_task,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import Context
from typing import Any, Final

from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.types import Send

_FINISHED: Final = object()


class FrameWriter:
    """An open socket whose owner lets frames be written while it waits in its mailbox."""

    __slots__ = ("context", "finish", "loop", "send", "task")

    def __init__(
        self,
        send: Send,
        task: asyncio.Task[None],
        context: Context,
        finish: Callable[["Started | Coroutine[Any, Any, None]"], None],
    ) -> None:
        self.send = send
        self.task = task
        self.context = context
        self.loop = task.get_loop()
        self.finish = finish
        """Given the rest of a write, makes the task await it."""


class Started:
    """The rest of an awaitable whose first step ran elsewhere; to be awaited once."""

    __slots__ = ("_iterator", "_yielded")

    def __init__(self, iterator: Generator[Any, Any, Any], yielded: Any) -> None:
        self._iterator = iterator
        self._yielded = yielded

    def __await__(self) -> Generator[Any, None, None]:
        iterator, yielded = self._iterator, self._yielded
        if yielded is not None:
            # The loop's sign that this future is awaited; another awaiter may have reset it.
            yielded._asyncio_future_blocking = True
        while True:
            try:
                try:
                    yield yielded
                except BaseException as error:
                    yielded = iterator.throw(error)
                else:
                    yielded = next(iterator)
            except StopIteration:
                return

    def close(self) -> None:
        """Give up the rest."""
        self._iterator.close()


def put_all(mailboxes: Iterable[Mailbox], envelope: Envelope) -> list[Mailbox]:
    """Queue a message with every mailbox; those that refused it."""
    refused: list[Mailbox] = []
    for mailbox in mailboxes:
        # Mailbox.put for each would say the same; this loop is what a fan-out costs.
        items = mailbox.items
        if len(items) < mailbox.limit:
            items.append(envelope)
        elif not mailbox.put(envelope):
            refused.append(mailbox)
    return refused


def notify_all(
    mailboxes: Iterable[Mailbox], envelope: Envelope, loop: asyncio.AbstractEventLoop
) -> None:
    """Make the receivers of a message, queued before, take it; ``loop`` is the running one.

    Every mailbox must have the message by now: what a receiver does here may send again, and
    that must come after this message everywhere.
    """
    if envelope.frame is None:
        for mailbox in mailboxes:
            if mailbox.waiters:
                mailbox.notify(loop)
        return
    frame = envelope.frame
    sender = asyncio.current_task(loop)
    if sender is not None:
        _leave_task(loop, sender)
    try:
        for mailbox in mailboxes:
            if not mailbox.waiters:
                continue
            writer, items = mailbox.writer, mailbox.items
            if (
                writer is None
                or len(items) != 1
                or items[0] is not envelope
                or writer.loop is not loop
            ):
                mailbox.notify(loop)
                continue
            items.clear()
            # What goes wrong here is the receiver's, not the sender's.
            task = writer.task
            _enter_task(loop, task)
            try:
                iterator = writer.send(frame).__await__()
                yielded = writer.context.run(next, iterator, _FINISHED)
                if yielded is not _FINISHED:
                    writer.finish(Started(iterator, yielded))
            except (Exception, asyncio.CancelledError) as error:
                writer.finish(_fail(error))
            finally:
                _leave_task(loop, task)
    finally:
        if sender is not None:
            _enter_task(loop, sender)


async def _fail(error: BaseException) -> None:
    raise error
