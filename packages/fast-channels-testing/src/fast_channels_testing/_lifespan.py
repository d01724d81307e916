"""`lifespan`: runs an application's startup and shutdown around a test, as a server does."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fast_channels.types import ASGIApp, Receive, Scope, Send
from fast_channels_testing.application import ApplicationCommunicator
from fast_channels_testing.exceptions import LifespanFailed

__all__ = ["RunningApplication", "lifespan"]


class RunningApplication:
    """An application between its startup and its shutdown, to be given to communicators.

    It is an ASGI application, too. Each connection gets a shallow copy of ``state``, as the ASGI
    specification says of lifespan state; what a test puts into ``communicator.scope["state"]``
    goes first.
    """

    state: dict[str, Any]
    """What the application's startup has left for its connections."""

    def __init__(self, application: ASGIApp) -> None:
        self.state = {}
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {**self.state, **(scope.get("state") or {})}
        await self._application(scope, receive, send)


@asynccontextmanager
async def lifespan(
    application: ASGIApp, *, timeout: float | None = 10
) -> AsyncGenerator[RunningApplication]:
    """Start an application up, run the block, and shut the application down.

    ::

        async with lifespan(app) as running, WebsocketCommunicator(running, "/ws") as ws:
            ...

    Give communicators what this yields: the application itself knows nothing of its lifespan state.
    The lifespan runs in a task of its own, so startup and shutdown may be asked for in different
    tasks, as fixtures do.

    What the application raises is raised, also where it has no lifespan and raises for that: then
    it is not to be tested with one. Raises `LifespanFailed` where it says no more than that it
    failed, and `CommunicatorTimeout` if startup or shutdown takes longer than ``timeout`` seconds.
    When the block raises, the application is shut down all the same, and what goes wrong there is
    told in a note of the block's exception.
    """
    running = RunningApplication(application)
    scope: Scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": running.state,
    }
    async with ApplicationCommunicator(application, scope) as server:
        await _ask(server, "startup", timeout)
        try:
            yield running
        except BaseException as error:
            try:
                await _shut_down(server, timeout)
            except Exception as failure:
                error.add_note(f"the shutdown of the application failed, too: {failure!r}")
            raise
        await _shut_down(server, timeout)


async def _ask(server: ApplicationCommunicator, phase: str, timeout: float | None) -> None:
    await server.send_input({"type": f"lifespan.{phase}"})
    answer = await server.receive_output(timeout)
    if answer["type"] == f"lifespan.{phase}.failed":
        # Most applications raise then, which says more.
        await server.wait(timeout)
    if answer["type"] != f"lifespan.{phase}.complete":
        raise LifespanFailed(
            f"expected 'lifespan.{phase}.complete' from the application, got {answer!r}"
        )


async def _shut_down(server: ApplicationCommunicator, timeout: float | None) -> None:
    if not server.ended:
        await _ask(server, "shutdown", timeout)
    await server.wait(timeout)
