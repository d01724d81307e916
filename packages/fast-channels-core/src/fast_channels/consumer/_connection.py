"""What runs a consumer: one mailbox, one reader, one dispatch loop.

::

    server ── receive() ── reader ──┐
                                    ├── mailbox ── dispatch loop ── handler ── send() ── server
    layer ──────────────────────────┘

The reader is the task in which the server calls the application. The dispatch loop is a task of
its own, so what the server does to its task, such as cancelling it, cannot tear a handler's
clean-up apart, and its context is known.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from fast_channels.consumer._handlers import EventTable
from fast_channels.consumer._mailbox import ConnectionMailbox, PulledEnvelope
from fast_channels.consumer._protocol import Ending, Protocol
from fast_channels.exceptions import StopConsumer, UnhandledEventError
from fast_channels.layers._fanout import FrameWriter, Started
from fast_channels.layers._local import DeliversLocally
from fast_channels.layers._mailbox import Envelope
from fast_channels.layers.base import BaseChannelLayer
from fast_channels.statistics import statistics
from fast_channels.types import ConsumerProbe, Event, Receive

if TYPE_CHECKING:
    from fast_channels.consumer.base import AsyncConsumer

logger = logging.getLogger("fast_channels.consumer")

ABNORMAL: Final = 1006
"""RFC 6455 7.4.1: the connection ended without a close frame."""


class Connection:
    """Runs one consumer for one scope, from the first event to the released channel."""

    __slots__ = (
        "_consumer",
        "_context",
        "_interruptible",
        "_loop",
        "_protocol",
        "_pump",
        "_reading",
        "_server_task",
        "_started",
        "_stopped",
        "_table",
        "channel",
        "ending",
        "from_layer",
        "layer",
        "mailbox",
        "task",
    )

    def __init__(
        self,
        consumer: "AsyncConsumer",
        protocol: Protocol,
        layer: BaseChannelLayer | None,
        table: EventTable,
    ) -> None:
        self._consumer = consumer
        self._table = table
        self._protocol = protocol
        self.layer = layer
        self.channel = ""
        self.ending: Ending | None = None
        self.from_layer = False
        self._loop = asyncio.get_running_loop()
        self._interruptible = False
        self._reading = False
        self._stopped = False
        self._started: Started | None = None
        self._pump: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()
        self.mailbox = ConnectionMailbox(self._loop, self._overflow())

    # The reader: runs in the server's task.

    async def run(self, receive: Receive) -> None:
        """Run until the connection has ended and everything of it is released."""
        server_task = self._server_task = cast("asyncio.Task[object]", asyncio.current_task())
        cancelled_before = server_task.cancelling()
        await self._open_channel()
        self.task = self._loop.create_task(self._serve(), context=self._context)
        self.task.add_done_callback(self._stop_reading)
        if (probe := self._probe()) is not None:
            probe.application_started(self._consumer, self.task)
        self._reading = True
        try:
            await self._read(receive)
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
            left = event["type"].endswith(".disconnect")
            if left:
                self._protocol.client_left()
            await self.mailbox.put_client_event(event)
            if left:
                return

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
        except asyncio.CancelledError:
            self.end(ABNORMAL)
        finally:
            self._interruptible = False
            # What was cancelled is over: a task group of the disconnect handler looks at this.
            while self.task.uncancel():
                pass
            await self._finish()

    async def _dispatch_all(self) -> None:
        mailbox, table, consumer = self.mailbox, self._table, self._consumer
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
                    event = item.open()
                    find, self.from_layer = table.find_for_layer, True
                else:
                    mailbox.taken()
                    event = item
                    find, self.from_layer = table.find_for_server, False
                    if event["type"].endswith(".disconnect"):
                        # daphne says None if the client's close frame has no code.
                        code, reason = event.get("code") or 1005, event.get("reason") or ""
                        self.end(code, reason, by_client=True)
                        return
                if table.overrides_dispatch:
                    await consumer.dispatch(event)
                else:
                    await find(consumer, event)(event)
            except StopConsumer:
                self.end(1000)
            except UnhandledEventError as error:
                statistics.count("event.unhandled", str(error))
            except (Exception, asyncio.CancelledError) as error:
                await self._fail(self._failure(error), event)

    async def _fail(self, failure: Exception, event: Event) -> None:
        """Give what a handler raised to the application; nothing gets past."""
        self._report(failure)
        try:
            await self._consumer.on_error(failure, event)
        except StopConsumer:
            self.end(1000)
        except (Exception, asyncio.CancelledError) as error:
            self._log_failure(error, "on_error failed")
            self.end(1011)

    def _failure(self, error: Exception | asyncio.CancelledError) -> Exception:
        """What went wrong in the application's code; raises what really cancels this task.

        Otherwise something that a handler awaited was cancelled: an error like any other.
        """
        if isinstance(error, Exception):
            return error
        if self.task.cancelling():
            raise error
        failure = RuntimeError("something that was awaited is cancelled; the handler was not")
        failure.__cause__ = error
        return failure

    def _log_failure(self, error: Exception | asyncio.CancelledError, what: str) -> None:
        failure = self._failure(error)
        self._report(failure)
        logger.error("%s: %s", self.identity(), what, exc_info=failure)

    # Frames that skip the dispatch loop while it waits.

    def take_frames(self) -> None:
        """The socket is open: frames of a broadcast may be written to it."""
        if self._table.takes_frames:
            self.mailbox.writer = FrameWriter(
                self._consumer.base_send, self.task, self._context, self._finish_write
            )

    def refuse_frames(self) -> None:
        """The socket is not open any more."""
        self.mailbox.writer = None

    def _finish_write(self, rest: Started) -> None:
        self._started = rest
        self.mailbox.wake()

    def end(self, code: int, reason: str = "", *, by_client: bool = False) -> None:
        """Make the dispatch loop stop after what it is doing; the first call decides."""
        if self.ending is None:
            self.ending = Ending(code, reason, by_client)
            self.mailbox.wake()
            if not by_client:
                # Now, not at the very end: granian writes a close frame only while nobody waits
                # in its receive().
                self._stop_reading()

    async def _finish(self) -> None:
        """Leave the groups, stop deliveries, say goodbye, run the disconnect hook: once."""
        ending = self.ending or Ending(ABNORMAL, "", False)
        await self._close_channel()
        try:
            await self._protocol.say_goodbye(ending)
        except (Exception, asyncio.CancelledError) as error:
            # The socket may have gone first; that it has ended is known already.
            failure = self._failure(error)
            logger.debug("%s: could not end in good form", self.identity(), exc_info=failure)
        event = self._protocol.disconnect_event(self._consumer.scope, ending)
        if event is None:
            return
        self.from_layer = False
        try:
            await self._consumer.dispatch(event)
        except (StopConsumer, UnhandledEventError):
            pass
        except (Exception, asyncio.CancelledError) as error:
            self._log_failure(error, "the disconnect handler failed")

    # The channel.

    async def _open_channel(self) -> None:
        if isinstance(self.layer, DeliversLocally):
            await self.layer.open_mailbox(self.mailbox)
            self.channel = self.mailbox.name
        elif self.layer is not None:
            self.channel = await self.layer.new_channel()
            self.mailbox.open(self.channel, self.layer.get_capacity(self.channel))
            self._pump = self._loop.create_task(self._receive_from(self.layer))

    async def _receive_from(self, layer: BaseChannelLayer) -> None:
        """Fill the mailbox from a layer that can only be asked for messages, one by one."""
        try:
            while True:
                pulled = PulledEnvelope(await layer.receive(self.channel))
                self.mailbox.put(pulled)
                self.mailbox.notify(self._loop)
                await pulled.opened
        except Exception as error:
            self._log_failure(error, "its channel layer failed")
            self.end(1011)

    async def _close_channel(self) -> None:
        self.mailbox.close(self._loop)
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self.layer is not None:
            try:
                await self.layer.close_channel(self.channel)
            except (Exception, asyncio.CancelledError) as error:
                self._log_failure(error, f"could not close channel {self.channel}")

    def _overflow(self) -> Callable[[], bool] | None:
        """What to do when the mailbox is full; True if there is room then. Any thread asks."""
        policy = self._consumer.overflow
        if policy == "drop_oldest":
            return self._drop_oldest
        return self._close_overflowed if policy == "close" else None

    def _drop_oldest(self) -> bool:
        if not self.mailbox.drop_oldest():
            return False
        statistics.count("event.full", f"{self.channel!r} is full and lost its oldest message")
        return True

    def _close_overflowed(self) -> bool:
        self._loop.call_soon_threadsafe(self.end, 1013, "too slow for its messages")
        return False

    # For logs and tests.

    def identity(self) -> str:
        scope = self._consumer.scope
        client = scope.get("client")
        where = f"{client[0]}:{client[1]}" if client else "an unknown client"
        return f"{type(self._consumer).__qualname__} at {scope.get('path', '-')!r} for {where}"

    def _probe(self) -> ConsumerProbe | None:
        extensions: Event = self._consumer.scope.get("extensions") or {}
        return cast("ConsumerProbe | None", extensions.get("fast_channels.testing"))

    def _report(self, error: BaseException) -> None:
        if (probe := self._probe()) is not None:
            probe.application_error(error)
