"""Waiting until nothing is in flight: in one application, or in all of an event loop."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakSet


class InFlight(Protocol):
    """An application that knows what it has in flight."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...
    @property
    def errors(self) -> Sequence[BaseException]: ...
    def unfinished(self) -> list[asyncio.Future[Any]]: ...


class Running:
    """The applications that were started, in whatever thread, and are still referred to."""

    def __init__(self) -> None:
        self._applications: WeakSet[InFlight] = WeakSet()
        self._lock = threading.Lock()

    def add(self, application: InFlight) -> None:
        with self._lock:
            self._applications.add(application)

    def beside(self, application: InFlight) -> list[InFlight]:
        """The other ones of its event loop."""
        with self._lock:
            return [
                other
                for other in self._applications
                if other.loop is application.loop and other is not application
            ]


running = Running()


async def settled(application: InFlight, timeout: float | None, *, alone: bool) -> list[InFlight]:
    """Wait until nothing is in flight, or the application has an error to tell of.

    Returns the applications that were not quiet at one and the same moment when the time was
    over, and nothing otherwise. ``alone``: the others of the event loop do not matter.
    """

    def in_flight() -> dict[InFlight, list[asyncio.Future[Any]]]:
        concerned = [application, *(() if alone else running.beside(application))]
        return {each: unfinished for each in concerned if (unfinished := each.unfinished())}

    try:
        async with asyncio.timeout(timeout):
            # What was put off to the loop's next turn, such as an end by overflow, is seen then.
            await asyncio.sleep(0)
            while not application.errors and (found := in_flight()):
                unfinished = [future for futures in found.values() for future in futures]
                await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        return list(in_flight())
    return []
