"""From one message to the mailboxes of all its receivers, and past them to their sockets.

A frame for the sockets themselves (``websocket.send``) needs no handler, and writing it rarely has
to wait. Waking a task for every write costs a good part of the write, so :func:`notify_all` takes
the first step of a write at once wherever the receiver has nothing else to do. A write that does
have to wait is left for the receiver's own task to finish.

Code of middleware around the server's ``send`` may ask for its task and its context, so such a
write begins with the receiver's task current and in its context. The server's own does not care.
"""

import asyncio

# Public in spite of the names: "Extending asyncio" documents them for task implementations.
from asyncio import (
    _enter_task,  # pyright: ignore[reportPrivateUsage]
    _leave_task,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextvars import Context
from typing import Any, Final

from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.types import Event, Send

_FINISHED: Final = object()


class FrameWriter:
    """An open socket whose owner lets frames be written while it waits in its mailbox."""

    __slots__ = ("context", "finish", "is_busy", "is_servers_own", "loop", "send", "task")

    def __init__(
        self,
        send: Send,
        task: asyncio.Task[None],
        context: Context,
        finish: Callable[["Started"], None],
    ) -> None:
        self.send: Send = send
        self.task: asyncio.Task[None] = task
        self.context: Context = context
        self.loop: asyncio.AbstractEventLoop = task.get_loop()
        self.finish: Callable[[Started], None] = finish
        """Given the rest of a write, makes the task await it."""
        self.is_busy: bool = False
        """The first step of a write runs; middleware may send to the same group in it."""
        self.is_servers_own: bool = isinstance(
            getattr(send, "__self__", None), asyncio.BaseProtocol
        )


class Started:
    """The rest of an awaitable whose first step ran elsewhere; to be awaited once."""

    __slots__ = ("_error", "_iterator", "_yielded")

    def __init__(
        self,
        iterator: Generator[Any, Any, Any],
        yielded: Any,
        error: BaseException | None = None,
    ) -> None:
        """``error``: thrown into the rest instead of waiting for what was yielded."""
        if yielded is not None:
            # The loop's sign that this future was handed to a task. It was not yet, and with the
            # sign nobody else could await it.
            yielded._asyncio_future_blocking = False
        self._iterator = iterator
        self._yielded = yielded
        self._error = error

    def __await__(self) -> Generator[Any, None, None]:
        yielded, error = self._yielded, self._error
        if yielded is not None:
            yielded._asyncio_future_blocking = True
        try:
            while True:
                if error is None:
                    try:
                        yield yielded
                    except BaseException as raised:
                        error = raised
                if error is None:
                    yielded = next(self._iterator)
                else:
                    thrown, error = error, None
                    yielded = self._iterator.throw(thrown)
        except StopIteration:
            return

    def cancel(self, error: asyncio.CancelledError) -> None:
        """What cancelling a task does: cancel what it waits for, or else throw ``error``."""
        if self._yielded is None or not self._yielded.cancel():
            self._error = error


def failed(error: BaseException) -> Started:
    """The rest of an awaitable whose first step raised."""
    return Started((None for _ in ()), None, error)


def put_all(mailboxes: Collection[Mailbox], envelope: Envelope) -> list[Mailbox]:
    """Queue a message with every mailbox; those that refused it."""
    if len(mailboxes) > 2:
        envelope.expect_many()
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
    turn = _Turn(iter(mailboxes), envelope, envelope.frame, loop)
    while True:
        writing = turn.write_each().__await__()
        try:
            yielded = next(writing, _FINISHED)
        except asyncio.CancelledError as error:
            turn.writer.finish(failed(error))
            continue
        if yielded is _FINISHED:
            return
        # One socket is not ready. Its owner awaits the rest of this coroutine, which is its own
        # write and no other: the members after it are for the next one.
        turn.writer.finish(Started(writing, yielded))


class _Turn:
    """Writes one frame to one member after the other."""

    __slots__ = ("_envelope", "_frame", "_loop", "_rest", "writer")

    writer: FrameWriter
    """Of the member that is being written to."""

    def __init__(
        self,
        members: Iterator[Mailbox],
        envelope: Envelope,
        frame: Event,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._rest = members
        self._envelope = envelope
        self._frame = frame
        self._loop = loop

    async def write_each(self) -> None:
        envelope, frame, loop = self._envelope, self._frame, self._loop
        for mailbox in self._rest:
            if not mailbox.waiters:
                continue
            writer, items = mailbox.writer, mailbox.items
            if (
                writer is None
                or len(items) != 1
                or items[0] is not envelope
                or writer.loop is not loop
                or writer.is_busy
            ):
                mailbox.notify(loop)
                continue
            try:
                # Not clear(): another thread may have added to it by now.
                items.remove(envelope)
            except ValueError:
                continue
            if writer.is_servers_own:
                self.writer = writer
                try:
                    await writer.send(frame)
                except Exception as error:
                    writer.finish(failed(error))
            else:
                _write_as_receiver(writer, frame)


def _write_as_receiver(writer: FrameWriter, frame: Event) -> None:
    """Take the first step of a write with the receiver's task current and in its context."""
    loop, task = writer.loop, writer.task
    sender = asyncio.current_task(loop)
    if sender is not None:
        _leave_task(loop, sender)
    _enter_task(loop, task)
    writer.is_busy = True
    # What goes wrong here is the receiver's, not the sender's.
    try:
        writing = writer.send(frame).__await__()
        yielded = writer.context.run(next, writing, _FINISHED)
        if yielded is not _FINISHED:
            writer.finish(Started(writing, yielded))
    except (Exception, asyncio.CancelledError) as error:
        writer.finish(failed(error))
    finally:
        writer.is_busy = False
        _leave_task(loop, task)
        if sender is not None:
            _enter_task(loop, sender)
