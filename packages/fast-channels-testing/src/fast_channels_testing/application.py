"""`ApplicationCommunicator`: drives any ASGI application, event by event."""

import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, TypeAlias, runtime_checkable

from fast_channels.types import ASGIApp, Message, Scope
from fast_channels_testing._link import Link
from fast_channels_testing._rules import PassThrough, ServerRules

__all__ = ["DEFAULT_TIMEOUT", "Application", "ApplicationCommunicator", "ConsumerClass", "Timeout"]

_PROBE_EXTENSION = "fast_channels.testing"
_END_AFTER_STOP = "the end of the application, although it was cancelled,"


@runtime_checkable
class ConsumerClass(Protocol):
    """A class that makes its own ASGI application, as consumers do."""

    def as_asgi(self) -> ASGIApp:
        """Return the application."""
        ...


Application: TypeAlias = ASGIApp | ConsumerClass
"""What a communicator runs: an ASGI application, or a consumer class as it is."""


class _Default(Enum):
    TIMEOUT = "the communicator's own"

    def __repr__(self) -> str:
        return f"<{self.value}>"


DEFAULT_TIMEOUT: Final = _Default.TIMEOUT
"""A wait takes at most the communicator's own ``timeout``."""

Timeout: TypeAlias = float | Literal[_Default.TIMEOUT] | None
"""How long a wait may take: seconds, None for ever, or `DEFAULT_TIMEOUT`."""


class ApplicationCommunicator:
    """Runs an ASGI application in one task and exchanges events with it.

    The task starts with the first call that sends or waits, or with ``start()``, in an empty
    context, as under a server. It belongs to the communicator: end it with ``wait``, ``stop`` or
    ``async with``. One that is dropped while its application runs gives a `ResourceWarning`.

    No wait ends the application. Where ``timeout`` is over (in seconds; ``None`` waits for ever),
    `CommunicatorTimeout` shows the frames so far and the lines at which the application waits, with
    the handlers that run concurrently and the threads that are busy. A wait that is given none
    has the communicator's own ``timeout``, and so have the beginning and the end of ``async with``.

    What the application raises is raised, the same exception object, from whichever call
    waits for it, or from the next call. That includes an exception in a consumer's handler, which
    a consumer passes to its ``on_error`` and not to the server. With
    ``raise_app_exceptions=False`` nothing is raised, so that a test sees what a client sees.

    This class sends and takes any event, valid or not. The subclasses check what the application
    sends, as a server would.
    """

    scope: dict[str, Any]
    """What the application is given. Add to it before the first call, such as a ``"user"``."""

    timeout: float | None
    """Seconds that a wait may take that is given no other timeout; ``receive_nothing`` has one."""

    def __init__(
        self,
        application: Application,
        scope: Scope,
        *,
        raise_app_exceptions: bool = True,
        timeout: float | None = 1,
    ) -> None:
        self.timeout = timeout
        self._link = Link(
            _as_asgi(application), self._server_rules(), raise_errors=raise_app_exceptions
        )
        extensions: MutableMapping[str, Any] = scope.get("extensions") or {}
        self.scope = {**scope, "extensions": {**extensions, _PROBE_EXTENSION: self._link}}

    def _server_rules(self) -> ServerRules:
        return PassThrough()

    @property
    def ended(self) -> bool:
        """Whether the application has ended, in whatever way."""
        return self._link.ended

    def start(self) -> None:
        """Start the application now, on the running event loop. Twice does nothing."""
        self._link.start(self.scope)

    async def send_input(self, message: MutableMapping[str, Any]) -> None:
        """Hand an event to the application; `ApplicationEnded` if there is none to take it."""
        self.start()
        self._link.raise_error()
        self._link.push(message)

    async def receive_output(self, timeout: Timeout = DEFAULT_TIMEOUT) -> Message:
        """Return the next event that the application sent; `ApplicationEnded` if none can come."""
        if not await self._output(timeout):
            raise self._link.ended_error("an event from the application")
        return self._link.output.popleft()

    async def receive_nothing(self, timeout: float = 0.1, interval: float = 0.01) -> bool:
        """Tell whether the application sent nothing for ``timeout`` seconds.

        Returns as soon as that is known; ``interval`` is accepted and not needed.
        """
        self.start()
        link = self._link
        await link.until(lambda: bool(link.output or link.errors) or link.ended, timeout)
        link.raise_error()
        return not link.output

    async def settle(self, timeout: Timeout = DEFAULT_TIMEOUT, *, alone: bool = False) -> None:
        """Wait until nothing is in flight: no sleep, and no guess.

        In flight is: an event that the test sent and the application has not taken; a message that
        the layer has handed to this process for a consumer; a handler that runs, also a concurrent
        one or one in a thread; a frame in a consumer's outbox. Once settled, the application waits
        for something new, or has ended, and what it sent is there to be received. An application
        that is no consumer counts as waiting when it waits in its ``receive()``.

        One application may make work for another, so all that communicators run in this event
        loop have to be quiet at the same moment; with ``alone=True`` only this one. Not seen are:
        tasks that a handler started and did not await, timers, and messages that are still at a
        broker or on their way to another process; a test waits for these with a ``receive`` method.

        Raises what the application raised, and `CommunicatorTimeout` if something goes on for
        longer than ``timeout``, such as a handler that waits for an event; nothing is cancelled.
        """
        self.start()
        await self._link.settle(self._seconds(timeout), alone=alone)

    async def wait(self, timeout: Timeout = DEFAULT_TIMEOUT) -> None:
        """Wait until the application has ended by itself, and raise what it raised."""
        self.start()
        seconds = self._seconds(timeout)
        ended = await self._link.until(lambda: self._link.ended, seconds)
        self._link.raise_error()
        if not ended:
            raise self._link.timeout_error("the end of the application", seconds)

    def stop(
        self, exceptions: bool = True, *, timeout: Timeout = DEFAULT_TIMEOUT
    ) -> Awaitable[None]:
        """Cancel the application; awaiting the result waits until it has ended.

        ``exceptions`` says whether to raise what the application raised, before it was
        cancelled or in its clean-up.
        """
        self._link.stop()
        if exceptions:
            self._link.raise_error()
        return _Awaitable(lambda: self._stopped(exceptions, timeout))

    async def _stopped(self, exceptions: bool, timeout: Timeout) -> None:
        link, seconds = self._link, self._seconds(timeout)
        ended = link.task is None or await link.until(lambda: link.ended, seconds)
        if exceptions:
            link.raise_error()
        else:
            link.errors.clear()
        if not ended:
            raise link.timeout_error(_END_AFTER_STOP, seconds)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            try:
                await self._leave()
            except BaseException as error:
                await self._stop_behind(error)
                raise
            await self.stop()
        else:
            await self._stop_behind(exc)

    async def _leave(self) -> None:
        """End the connection as a client would; here there is no such way."""

    async def _stop_behind(self, error: BaseException) -> None:
        """Stop, and tell in notes of the error under way what would otherwise be lost."""
        link = self._link
        link.stop()
        if not await link.until(lambda: link.ended, self.timeout):
            error.add_note(str(link.timeout_error(_END_AFTER_STOP, self.timeout)))
        for unseen in link.errors:
            error.add_note(f"the application also raised {unseen!r}")
        link.errors.clear()

    async def _output(self, timeout: Timeout) -> bool:
        """Wait for an unread event; False if the application has ended without one."""
        link = self._link
        await self._expect(
            lambda: bool(link.output) or link.ended, timeout, "an event from the application"
        )
        return bool(link.output)

    async def _expect(self, ready: Callable[[], bool], timeout: Timeout, what: str) -> None:
        self.start()
        link, seconds = self._link, self._seconds(timeout)
        in_time = await link.until(lambda: bool(link.errors) or ready(), seconds)
        link.raise_error()
        if not in_time:
            raise link.timeout_error(what, seconds)

    def _seconds(self, timeout: Timeout) -> float | None:
        return self.timeout if isinstance(timeout, _Default) else timeout

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self.scope.get('path') or self.scope.get('type')!r}>"

    def __del__(self) -> None:
        link: Link | None = getattr(self, "_link", None)
        if link is None or link.stopped:
            return
        if link.task is not None and not link.ended:
            link.abandon()
            problem = "while its application was running"
        elif link.errors:
            problem = f"and the test never saw {link.errors[0]!r}"
        else:
            return
        warnings.warn(
            f"{self!r} was dropped {problem}; end it with disconnect(), wait(), stop() or "
            "'async with'",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )


class _Awaitable:
    """Makes its coroutine only when awaited: not awaiting it is allowed."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, Any, None]:
        return self._make().__await__()


def _as_asgi(application: Application) -> ASGIApp:
    if isinstance(application, ConsumerClass):
        return application.as_asgi()
    if not callable(application):
        raise TypeError(f"expected an ASGI application or a consumer class, got {application!r}")
    return application
