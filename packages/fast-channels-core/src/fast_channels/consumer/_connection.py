"""What runs a consumer: one mailbox, one reader, one dispatch loop.

::

    server ── receive() ── reader ──┐
                                    ├── mailbox ── dispatch loop ── handler ── send() ── server
    layer ──────────────────────────┘

The reader is the task in which the server calls the application. The dispatch loop is a task of
its own, so what the server does to its task, such as cancelling it, cannot tear a handler's
clean-up apart, and its context is known.

Whatever ends a connection calls :meth:`Connection.end`, and the first call decides. From there
on it goes one way: the client is told, the handler that runs returns, the channel leaves its
groups and closes, the disconnect handler runs.
"""

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any, Final, cast

from fast_channels.consumer._channel import ConnectionChannel
from fast_channels.consumer._close_frame import ABNORMAL, INTERNAL_ERROR, NO_CODE, TRY_AGAIN_LATER
from fast_channels.consumer._goodbye import Goodbye
from fast_channels.consumer._handlers import EventTable
from fast_channels.consumer._protocol import Ending, Protocol
from fast_channels.consumer._reports import Reports, logger
from fast_channels.exceptions import StopConsumer, UnhandledEventError
from fast_channels.layers._fanout import FrameWriter, Started
from fast_channels.layers._mailbox import Envelope
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.statistics import statistics
from fast_channels.types import Event, Receive, Send

if TYPE_CHECKING:
    from fast_channels.consumer._concurrent import Crew
    from fast_channels.consumer.base import AsyncConsumer

READ_AHEAD: Final = 32
"""How many of the client's events may wait where its leaving is to be noticed behind them."""

ABORT_TIMEOUT: Final = 1.0
"""The ``close_timeout`` of a connection that has to end now."""


class Connection(Reports):
    """Runs one consumer for one scope, from the first event to the released channel."""

    __slots__ = (
        "_goodbye",
        "_interruptible",
        "_protocol",
        "_reading",
        "_server_task",
        "_started",
        "_stopped",
        "_table",
        "channel",
        "context",
        "crew",
        "ending",
        "event",
        "from_layer",
        "loop",
        "task",
    )

    def __init__(
        self,
        consumer: "AsyncConsumer",
        protocol: Protocol,
        layer: BaseChannelLayer | None,
        table: EventTable,
    ) -> None:
        super().__init__(consumer)
        self._table = table
        self._protocol = protocol
        protocol.connection = self
        self.ending: Ending | None = None
        self.event: Event = {}
        self.from_layer = False
        self.crew: Crew | None = None
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        self._interruptible = False
        self._reading = False
        self._stopped = False
        self._started: Started | None = None
        self._goodbye: Goodbye | None = None
        ahead = READ_AHEAD if consumer.cancel_on_disconnect else 1
        self.channel = ConnectionChannel(self, layer, consumer.overflow, ahead)

    # The reader: runs in the server's task.

    async def run(self, receive: Receive) -> None:
        """Run until the connection has ended and everything of it is released."""
        server_task = self._server_task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled_before = server_task.cancelling()
        try:
            await self.channel.open()
        except BaseException:
            if self._goodbye is not None:
                # It was aborted meanwhile.
                self._goodbye.give_up()
                await self._goodbye.ended()
            raise
        self.task = self.loop.create_task(self._serve(), context=self.context)
        self.task.add_done_callback(self._stop_reading)
        if (probe := self.probe()) is not None:
            probe.application_started(self._consumer, self.task, self._unfinished)
        self._reading = True
        try:
            await self._read(self._protocol.listen(receive))
        except BaseException as error:
            stopped_here = isinstance(error, asyncio.CancelledError) and self._stopped
            if not stopped_here or server_task.cancelling() > cancelled_before + 1:
                self._reading = False
                self._cancel()
                raise
        finally:
            self._reading = False
            if self._stopped:
                server_task.uncancel()
            await self._join()
        self.task.result()

    async def _read(self, receive: Receive) -> None:
        while True:
            event = cast(Event, await receive())
            if self._stopped:
                # A receive() may keep a cancellation to itself: asyncio.wait_for() before 3.12.
                return
            if event["type"].endswith(".disconnect"):
                # daphne says None if the client's close frame has no code.
                code, reason = event.get("code") or NO_CODE, event.get("reason") or ""
                self.lose_client(code, reason, by_client=True)
                return
            await self.channel.mailbox.put_client_event(event)

    def _stop_reading(self, _task: asyncio.Task[None] | None = None) -> None:
        if self._reading:
            self._reading = False
            self._stopped = True
            self._server_task.cancel()

    def _cancel(self) -> None:
        """End from outside: break off the handler that runs, once, but no clean-up.

        A task that is cancelled before its first step would never get to the clean-up. anyio
        cancels again and again, in which no handler could await anything in a ``finally``.
        """
        self.end(ABNORMAL)
        if self._interruptible:
            self._interruptible = False
            self.task.cancel()

    async def _join(self) -> None:
        """Wait for the dispatch loop, however often the server cancels."""
        cancelled: asyncio.CancelledError | None = None
        while not self.task.done():
            try:
                await asyncio.wait([self.task])
            except asyncio.CancelledError as error:
                self._cancel()
                cancelled = error
        if cancelled is not None:
            raise cancelled

    # The dispatch loop: runs in a task of its own.

    async def _serve(self) -> None:
        # Of asyncio's eager tasks the first step runs before create_task() returns.
        self.task = cast("asyncio.Task[None]", asyncio.current_task())
        self._interruptible = True
        try:
            await self._dispatch_all()
            if self.crew is not None:
                await self.crew.stop(spare=True)
        except asyncio.CancelledError:
            self.end(ABNORMAL)
        finally:
            self._interruptible = False
            if self.crew is not None:
                await self.crew.stop(spare=False)
            # What was cancelled is over: a task group of the disconnect handler looks at this.
            while self.task.uncancel():
                pass
            await self._finish()

    async def _dispatch_all(self) -> None:
        mailbox, table, consumer = self.channel.mailbox, self._table, self._consumer
        items = mailbox.items
        event: Event = {}
        while self.ending is None or self._started is not None:
            if not items and self._started is None:
                try:
                    await mailbox.arrival()
                except asyncio.CancelledError as error:
                    if self._started is None:
                        raise
                    # That is what this task waits for by now, so that is what is cancelled.
                    self._started.cancel(error)
                continue
            try:
                if self._started is not None:
                    # A frame that could not be written at once comes before what is queued.
                    started, self._started = self._started, None
                    event = {"type": "websocket.send"}
                    await self._protocol.finish(started)
                    continue
                item = items.popleft()
                if isinstance(item, Envelope):
                    if item.expires_at <= time.monotonic():
                        continue
                    event = self.event = item.open()
                    find, self.from_layer = table.find_for_layer, True
                else:
                    mailbox.taken()
                    event = self.event = item
                    find, self.from_layer = table.find_for_server, False
                if table.overrides_dispatch:
                    await consumer.dispatch(event)
                else:
                    await find(consumer, event)(event)
            except (Exception, asyncio.CancelledError) as error:
                await self.failed(error, event)

    async def failed(self, error: Exception | asyncio.CancelledError, event: Event) -> None:
        """Do what has to be done when a handler raised; raises only what cancels this task."""
        if isinstance(error, StopConsumer):
            self.end(1000)
        elif isinstance(error, UnhandledEventError):
            statistics.count("event.unhandled", str(error))
        else:
            await self._fail(self.failure(error), event)

    async def _fail(self, failure: Exception, event: Event) -> None:
        """Give what a handler raised to the application; nothing gets past."""
        self.tell_probe(failure)
        try:
            await self._consumer.on_error(failure, event)
        except StopConsumer:
            self.end(1000)
        except (Exception, asyncio.CancelledError) as error:
            self.log_failure(error, "on_error failed")
            self.end(INTERNAL_ERROR)

    def _unfinished(self) -> list[asyncio.Future[Any]]:
        """See `ConsumerProbe.application_started`."""
        if self.task.done():
            return []
        unfinished: list[asyncio.Future[Any]] = self.channel.unfinished()
        if self.crew is not None:
            unfinished += self.crew.tasks
        if (writer := self._protocol.writer()) is not None:
            unfinished.append(writer)
        if unfinished:
            unfinished.append(self.task)
        return unfinished

    def is_dispatching(self) -> bool:
        """Whether the dispatch loop is what runs, and the connection has not ended."""
        return self.ending is None and asyncio.current_task() is self.task

    # Frames that skip the dispatch loop while it waits.

    def take_frames(self, send: Send) -> None:
        """The socket is open: frames of a broadcast may be given to its ``send``."""
        if self._table.takes_frames:
            self.channel.mailbox.writer = FrameWriter(
                send, self.task, self.context, self.finish_write
            )

    def refuse_frames(self) -> None:
        """The socket is not open any more."""
        self.channel.mailbox.writer = None

    def finish_write(self, rest: Started) -> None:
        """Let the dispatch loop await the rest of a write, before anything else."""
        self._started = rest
        self.channel.mailbox.wake()

    # The end.

    def drain(self, retry_after: float) -> None:
        """Let the consumer take its leave, behind what waits for it; then it ends.

        ``retry_after``: seconds after which the client should come back.
        """
        if self.ending is None:
            self.channel.mailbox.put_event({"type": "connection.drain", "retry_after": retry_after})

    def abort(self, code: int, reason: str) -> None:
        """End now, whatever runs, and whatever the client makes of it."""
        if self._goodbye is not None:
            self._goodbye.give_up()
        self._consumer.close_timeout = min(self._consumer.close_timeout, ABORT_TIMEOUT)
        self.end(code, reason, flush=False)
        if self._interruptible:
            self._interruptible = False
            self.task.cancel()

    def is_run_by(self, task: asyncio.Task[object] | None) -> bool:
        """Whether this task runs the handlers."""
        if self.crew is not None and self.crew.runs(task):
            return True
        return getattr(self, "task", None) is task  # It has none before its channel is open.

    def end(
        self, code: int, reason: str = "", *, by_client: bool = False, flush: bool = True
    ) -> None:
        """Make the dispatch loop stop after what it is doing; the first call decides.

        ``flush``: what waits to be sent still goes out.
        """
        if self.ending is not None:
            return
        self.ending = Ending(code, reason, by_client)
        if by_client or code == ABNORMAL:
            # Nobody is there to be told.
            self._protocol.client_left()
        else:
            self._protocol.closing(flush=flush)
        if self.crew is not None:
            self.crew.connection_ended()
        self.channel.mailbox.wake()
        if not by_client:
            # Now, not at the very end: granian writes a close frame only while nobody waits
            # in its receive().
            self._stop_reading()
            if self._protocol.tells_at_once:
                self._start_goodbye()

    def lose_client(self, code: int, reason: str, *, by_client: bool) -> None:
        """End because the client has gone: whether what it asked for is still of use or not."""
        self.end(code, reason, by_client=by_client)
        if self._consumer.cancel_on_disconnect:
            self._cancel()

    def end_overflowed(self) -> None:
        """More waits for the client than may: it reads too slowly, or its handlers are slow."""
        self.end(TRY_AGAIN_LATER, "too slow for its messages", flush=False)

    def _start_goodbye(self) -> None:
        if self._goodbye is None and self._protocol.has_goodbye():
            # A copy: an eager task begins while the handler that ends the connection is in it.
            context, timeout = self.context.copy(), self._consumer.close_timeout
            self._goodbye = Goodbye(self._say_goodbye(), self.loop, context, timeout)

    async def goodbye_begun(self) -> None:
        """Return when the client is being told of the end."""
        if self._goodbye is not None:
            await self._goodbye.begun()

    async def _say_goodbye(self) -> None:
        try:
            if self.ending is not None:
                await self._protocol.say_goodbye(self.ending)
        except (Exception, asyncio.CancelledError) as error:
            # The client may have gone first or never answer; that it has ended is known already.
            logger.debug("%s: could not end in good form", self.identity(), exc_info=error)

    async def _finish(self) -> None:
        """Leave the groups, stop deliveries, say goodbye, run the disconnect hook: once."""
        if self.ending is None:
            self.end(ABNORMAL)
        await self.channel.close()
        try:
            self._start_goodbye()
            await self.goodbye_begun()
            await self._disconnect()
        finally:
            if self._goodbye is not None:
                await self._goodbye.ended()
            await self._protocol.stop()

    async def _disconnect(self) -> None:
        ending = self.ending or Ending(ABNORMAL, "", False)
        event = self._protocol.disconnect_event(self._consumer.scope, ending)
        if event is None:
            return
        self.from_layer = False
        try:
            await self._consumer.dispatch(event)
        except (StopConsumer, UnhandledEventError):
            pass
        except (Exception, asyncio.CancelledError) as error:
            self.log_failure(error, "the disconnect handler failed")
