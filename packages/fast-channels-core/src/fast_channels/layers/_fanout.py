"""From one message to the mailboxes of all its receivers, and past them to their sockets.

A frame for the sockets themselves (``websocket.send``) needs no handler, and writing it rarely has
to wait. Waking a task for every write costs a good part of the write, so :class:`Delivery` takes
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
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import Context
from typing import Any, Final

from fast_channels.layers._mailbox import Envelope, Mailbox
from fast_channels.types import Event, Send

_FINISHED: Final = object()


class WritesAnywhere:
    """Has a ``send`` for which it is all the same in which task and context it is called."""

    __slots__ = ()


def writes_anywhere(send: Send) -> bool:
    """Whether ``send`` is a server's own, or one that says so."""
    return isinstance(getattr(send, "__self__", None), asyncio.BaseProtocol | WritesAnywhere)


class FrameWriter:
    """An open socket whose owner lets frames be written while it waits in its mailbox."""

    __slots__ = ("anywhere", "context", "finish", "is_busy", "loop", "send", "task")

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
        self.anywhere: bool = writes_anywhere(send)


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


class Delivery:
    """One message on its way to many mailboxes; ``loop`` is the running loop.

    It has two steps. Every receiver is given the message before :meth:`finish` lets any of them
    run, because what a receiver sends in reply must come after this message everywhere.
    """

    __slots__ = ("_envelope", "_idle", "_loop", "_queued", "_writer")

    def __init__(self, envelope: Envelope, loop: asyncio.AbstractEventLoop) -> None:
        self._envelope = envelope
        self._loop = loop
        self._queued: list[Mailbox] = []
        self._idle: list[FrameWriter] = []
        self._writer: FrameWriter | None = None

    def put(self, mailboxes: Iterable[Mailbox]) -> list[Mailbox]:
        """Give the message to every mailbox; those that refused it.

        A layer that several threads share holds its lock during this.
        """
        envelope, queued, refused = self._envelope, self._queued, list[Mailbox]()
        is_frame = envelope.frame is not None
        for mailbox in mailboxes:
            items = mailbox.items
            if is_frame and not items and mailbox.waiters:
                writer = mailbox.writer
                if writer is not None and writer.anywhere and writer.loop is self._loop:
                    # Nothing can come in between, so the frame need not be queued.
                    self._idle.append(writer)
                    continue
            # Mailbox.put for each would say the same; this loop is what a fan-out costs.
            if len(items) < mailbox.limit:
                items.append(envelope)
            elif not mailbox.put(envelope):
                refused.append(mailbox)
                continue
            queued.append(mailbox)
        return refused

    def finish(self) -> None:
        """Write to the sockets that wait for it, and wake the other receivers."""
        if self._idle:
            self._write_to_idle()
        loop, frame = self._loop, self._envelope.frame
        for mailbox in self._queued:
            if mailbox.waiters and not (frame is not None and self._wrote(mailbox, frame)):
                mailbox.notify(loop)

    def _write_to_idle(self) -> None:
        rest = iter(self._idle)
        while True:
            writing = self._write_each(rest).__await__()
            try:
                yielded = next(writing, _FINISHED)
                if yielded is _FINISHED:
                    return
                # One socket is not ready. Its owner awaits the rest of this coroutine, which is
                # its own write and no other: the next one takes the members after it.
                started = Started(writing, yielded)
            except asyncio.CancelledError as error:
                started = failed(error)
            if self._writer is not None:
                self._writer.finish(started)

    async def _write_each(self, writers: Iterator[FrameWriter]) -> None:
        frame = self._envelope.frame or {}
        for writer in writers:
            self._writer = writer
            try:
                await writer.send(frame)
            except Exception as error:
                writer.finish(failed(error))

    def _wrote(self, mailbox: Mailbox, frame: Event) -> bool:
        """Write to a socket whose ``send`` is wrapped, if its owner has nothing else to do."""
        writer, items = mailbox.writer, mailbox.items
        if (
            writer is None
            or len(items) != 1
            or items[0] is not self._envelope
            or writer.loop is not self._loop
            or writer.is_busy
        ):
            return False
        try:
            # Not clear(): another thread may have added to it by now.
            items.remove(self._envelope)
        except ValueError:
            return True
        _write_as_receiver(writer, frame)
        return True


def deliver(
    envelope: Envelope, mailboxes: Iterable[Mailbox], loop: asyncio.AbstractEventLoop
) -> list[Mailbox]:
    """Both steps of a :class:`Delivery`, where no other thread is concerned."""
    if envelope.frame is not None:
        delivery = Delivery(envelope, loop)
        refused = delivery.put(mailboxes)
        delivery.finish()
        return refused
    # The same without what concerns frames: this loop is what a fan-out costs.
    refused, waiting = list[Mailbox](), list[Mailbox]()
    for mailbox in mailboxes:
        items = mailbox.items
        if len(items) < mailbox.limit:
            items.append(envelope)
        elif not mailbox.put(envelope):
            refused.append(mailbox)
            continue
        if mailbox.waiters:
            waiting.append(mailbox)
    for mailbox in waiting:
        waiter = mailbox.waiters[0]
        if waiter.done() or waiter.get_loop() is not loop:
            mailbox.notify(loop)
        else:
            mailbox.waiters.pop(0)
            waiter.set_result(None)
    return refused


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
