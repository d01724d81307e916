"""What stands between a test and the application: one task, two queues, and what went wrong.

A communicator holds its link, and nothing in a link refers to the communicator. So an abandoned
communicator is noticed at once, while the application's task lives on in its link.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from fast_channels.exceptions import ConnectionStateError
from fast_channels.types import ASGIApp, Message, Scope
from fast_channels_testing._rules import ServerRules, as_event
from fast_channels_testing._settle import running, settled
from fast_channels_testing._stack import busy_threads, waiting_point
from fast_channels_testing._transcript import Transcript
from fast_channels_testing._websocket_rules import ClientDisconnected
from fast_channels_testing.exceptions import ApplicationEnded, CommunicatorTimeout

# Frames that an application may send ahead of its reader before every further one gives the
# event loop a turn: an application that streams without ever waiting must not stop the test.
_SENT_AHEAD = 100


Unfinished: TypeAlias = Callable[[], Collection[asyncio.Future[Any]]]
"""Returns what a consumer has in flight; see `ConsumerProbe.application_started`."""


class Signal:
    """Wakes whoever waits for a change; each looks for itself what has changed."""

    def __init__(self) -> None:
        # In the order of their coming, which a set would not keep.
        self._waiters: dict[asyncio.Future[None], None] = {}

    def is_awaited(self) -> bool:
        """Whether somebody waits who was not woken yet."""
        return any(not waiter.done() for waiter in self._waiters)

    def notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            del self._waiters[waiter]


class Link:
    """Runs one application for one connection; also the `ConsumerProbe` of its consumers."""

    def __init__(self, application: ASGIApp, rules: ServerRules, *, raise_errors: bool) -> None:
        self.output: deque[Message] = deque()
        self.errors: deque[BaseException] = deque()
        """What the application raised and the test has not been told yet."""
        self.task: asyncio.Task[None] | None = None
        self.ending = ""
        """How the application ended, in words; empty while it runs."""
        self.stopped = False
        self.name = ""
        """Which connection this is, in words."""
        self.raise_errors = raise_errors
        self._application = application
        self._rules = rules
        self._input: deque[Message] = deque()
        self._final_given = False
        self._input_changed = Signal()
        self._changed = Signal()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transcript = Transcript()
        self._reported: list[BaseException] = []
        self._consumers: list[tuple[object, asyncio.Task[None], Unfinished]] = []
        self._reads: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        return bool(self.ending)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The one in which the application was started."""
        return self._loop

    # The task

    def start(self, scope: Scope) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self.name = str(scope.get("path") or scope.get("type"))
            # A server does not share the test's context variables either.
            self.task = loop.create_task(
                self._run(scope), name="application under test", context=contextvars.Context()
            )
            self.task.add_done_callback(self._task_done)
            running.add(self)
        elif self._loop is not loop:
            raise ConnectionStateError(
                "this communicator runs its application on another event loop; "
                "create it in the test, or in a fixture of the test's loop scope"
            )

    def stop(self) -> None:
        self.stopped = True
        if self.task is not None:
            self.task.cancel()

    def abandon(self) -> None:
        """Stop from wherever garbage is collected, which may be any thread, at any time."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.stop)

    async def _run(self, scope: Scope) -> None:
        # The end is noted in here, not by a callback of the task: that would come one turn of the
        # event loop after the task is done, and a test that looks in between would be told a lie.
        try:
            await self._application(scope, self.receive, self.send)
        except ClientDisconnected:
            # An application may let it pass: servers take it as a normal end.
            self._end("returned, as its client was gone")
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            # Also what a test tool raises past `except Exception`: it is the test's to see.
            self.application_error(exc)
            self._end(f"raised {type(exc).__name__}: {exc}")
        else:
            self._end("returned")

    def _task_done(self, task: asyncio.Task[None]) -> None:
        # Cancelled, perhaps before it ran at all.
        self._end("was cancelled")

    def _end(self, how: str) -> None:
        if not self.ending:
            self.ending = how
            self._rules.application_ended()
            self._reported.clear()
            self._changed.notify()

    # The application's side

    async def receive(self) -> Message:
        """The ``receive`` that the application is given."""
        while not self._input:
            if (final := self._rules.final_event) is not None:
                if self._final_given:
                    # One that reads on and on must not keep the event loop to itself.
                    await asyncio.sleep(0)
                self._final_given = True
                return dict(final)
            if self._reads is not None and not self._reads.done():
                self._reads.set_result(None)
            await self._input_changed.wait()
        return self._input.popleft()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        """The ``send`` that the application is given."""
        visible = self._rules.application_sent(as_event(event, "to the server"))
        if visible is not None:
            self._transcript.from_application(visible)
            self.output.append(visible)
        self._changed.notify()
        self._input_changed.notify()
        if len(self.output) > _SENT_AHEAD:
            await asyncio.sleep(0)

    def application_started(
        self, consumer: object, task: asyncio.Task[None], unfinished: Unfinished
    ) -> None:
        self._consumers.append((consumer, task, unfinished))

    def application_error(self, exc: BaseException) -> None:
        # One exception may come twice: from the handler, then out of the application.
        if isinstance(exc, asyncio.CancelledError) or any(exc is seen for seen in self._reported):
            return
        self._reported.append(exc)
        self._transcript.application_error(exc)
        if self.raise_errors:
            self.errors.append(exc)
        self._changed.notify()

    # The test's side

    def push(self, event: MutableMapping[str, Any]) -> None:
        """Hand an event to the application, which must not have ended."""
        message = as_event(event, "to the application")
        if self.ended:
            raise ApplicationEnded(f"{message['type']!r} cannot be sent: {self.whereabouts()}")
        self._transcript.to_application(message)
        if self._rules.client_sent(message):
            self._input.append(message)
        self._input_changed.notify()
        self._changed.notify()

    async def until(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for the test's side; tell whether it became ready in time."""
        try:
            async with asyncio.timeout(timeout):
                while not ready():
                    await self._changed.wait()
        except TimeoutError:
            # It may have become ready in the very turn in which the time ran out.
            return ready()
        return True

    async def settle(self, timeout: float | None, *, alone: bool) -> None:
        """Wait until nothing is in flight; raise what went wrong meanwhile."""
        busy = await settled(self, timeout, alone=alone)
        self.raise_error()
        if not busy:
            return
        error = self.timeout_error("a moment with nothing in flight", timeout)
        for other in busy:
            if isinstance(other, Link) and other is not self:
                error.add_note(
                    f"{other.name!r} has something in flight, in the same event loop "
                    f"(settle(alone=True) does not wait for it)\n{other.whereabouts()}"
                )
        raise error

    def raise_error(self) -> None:
        """Raise the oldest error of the application that the test has not seen, if any."""
        if self.errors:
            raise self.errors.popleft()

    def timeout_error(self, awaited: str, timeout: float | None) -> CommunicatorTimeout:
        return CommunicatorTimeout(
            f"{awaited} did not come within {timeout} s; the application was left running\n"
            f"{self.whereabouts()}"
        )

    def ended_error(self, awaited: str) -> ApplicationEnded:
        return ApplicationEnded(f"{awaited} cannot come any more\n{self.whereabouts()}")

    def unfinished(self) -> list[asyncio.Future[Any]]:
        """Nothing if the application waits for something new, or has ended.

        Otherwise, when one of the futures is done, ask again.
        """
        if self.task is None or self.ended:
            return []
        unfinished: list[asyncio.Future[Any]] = []
        for *_, of_consumer in self._consumers:
            unfinished += of_consumer()
        if self._input or not self._input_changed.is_awaited():
            if self._reads is None or self._reads.done():
                self._reads = self.task.get_loop().create_future()
            unfinished.append(self._reads)
        if unfinished:
            unfinished.append(self.task)
        return unfinished

    def whereabouts(self) -> str:
        lines = [str(self._transcript), "where the application is:"]
        if self.ending:
            lines.append(f"  application: it {self.ending}")
        elif self.task is not None:
            lines.append(f"  application: {waiting_point(self.task)}")
        for consumer, task, unfinished in self._consumers:
            name = type(consumer).__name__
            lines.append(f"  {name}: {waiting_point(task)}")
            beside = [other for other in unfinished() if isinstance(other, asyncio.Task)]
            lines += [
                f"  {name}, beside that: {waiting_point(other)}"
                for other in beside
                if other is not task
            ]
        lines += [f"  a thread: {point}" for point in busy_threads()]
        return "\n".join(lines)
