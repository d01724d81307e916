"""Ending a process that has connections: refuse new ones, take leave of the others, then stop.

The usual way is the application's lifespan::

    from fastapi import FastAPI
    from starlette.routing import Route
    from fast_channels.draining import draining, readiness

    @asynccontextmanager
    async def lifespan(app):
        register_channel_layer("default", InMemoryChannelLayer())
        async with draining(timeout=20, jitter=5):
            yield

    app = FastAPI(lifespan=lifespan, routes=[Route("/ready", readiness)])

A server that is told to stop by SIGTERM or SIGINT closes its WebSockets at once, and ends the
lifespan only afterwards. So :func:`draining` stands in front of the server's handlers of these
signals and lets the server have the signal when the drain is over:

- uvicorn, also with ``--workers`` and ``--reload``: SIGTERM starts a drain, and the process ends
  with exit code 0. (uvicorn itself would die of the signal in the end. It gets a SIGINT instead,
  and that ends in a ``KeyboardInterrupt``, which ``uvicorn`` and ``uvicorn.run()`` swallow; who
  calls ``Server.run()`` has to, as for Ctrl+C.)
- granian, and hypercorn with ``--workers 0``: the same.
- hypercorn with workers, the default: no signal reaches these, and connections are broken off
  before the lifespan ends. daphne has no lifespan at all.

Wherever the server cannot be held back, have a view that the orchestrator asks for before it sends
a signal (in Kubernetes by a ``preStop`` hook); the connections are gone then, and the signal finds
nothing to wait for::

    @app.post("/drain")
    async def begin_drain() -> DrainReport:
        return await drain(timeout=20, jitter=5)

Other connections than those of consumers go on until the server ends them, and so do requests that
reach no consumer; :class:`DrainMiddleware` refuses all that are new.

Give the orchestrator more time than ``timeout`` and 2 seconds before it kills the process, and the
server's main process, too, if that has a limit (``--workers-kill-timeout`` of granian). A handler
that goes on although it is cancelled may keep a server from ending; uvicorn has
``--timeout-graceful-shutdown`` for that.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from fast_channels._drain import GRACE, Drain, DrainOptions, DrainReport, close_layers
from fast_channels._held_signals import HeldSignals
from fast_channels._refusal import PLAIN_TEXT, refuse
from fast_channels.consumer._live import (
    LiveConnections,
    any_gate_is_closed,
    closed_gate,
    live_connections,
)
from fast_channels.middleware.base import BaseMiddleware
from fast_channels.types import ASGIApp, Receive, Scope, Send

__all__ = ["DrainMiddleware", "DrainReport", "drain", "draining", "is_ready", "readiness"]


async def drain(*, timeout: float = 20.0, jitter: float = 5.0, batch: int = 100) -> DrainReport:
    """End all connections of consumers in the running event loop, for good.

    From the call on, :func:`is_ready` is False and consumers refuse new connections: HTTP status
    503 with a ``Retry-After`` header, for WebSockets if the server has ASGI's extension
    ``websocket.http.response``, else 403. An ``EventSource``, which would never come back then,
    gets a stream that only says when to.

    The connections that are open are told, ``batch`` at a time and the batches spread evenly over
    ``timeout`` seconds: when the handlers that run have ended and what waits is handled,
    :meth:`AsyncConsumer.on_drain` runs, and then the socket is closed with 1012 and the reason
    ``{"retry_after": 3.2}``, a random part of ``jitter`` seconds (``jitter`` 0: at once), so that
    not all come back in the same moment. A response that is not complete ends. ``disconnect`` runs
    as in every other ending.

    The drain is over when the last connection has ended; up to ``batch`` of them are all told at
    once, which takes no longer than their handlers do. At the deadline, ``timeout`` seconds after
    the call, the handlers that still run are cancelled and the connections closed. Whatever
    handlers make of that, it is all over 2 seconds later, with a log entry that names them. Then
    the registered channel layers are closed; see :func:`close_channel_layers`.

    A second call joins the first, with the first one's options, and returns the same report.
    Cancelling a call does not stop the drain. A handler of a consumer may call it, too; it is not
    waited for then, unless it does so from a thread or a task of its own. Each event loop of a
    process has a drain of its own.

    Raises :class:`TypeError` and :class:`ValueError` for numbers that make no sense.
    """
    return await _begin(DrainOptions(timeout, jitter, batch)).join()


@asynccontextmanager
async def draining(
    app: object = None, *, timeout: float = 20.0, jitter: float = 5.0, batch: int = 100
) -> AsyncGenerator[None]:
    """Drains when the process is told to stop by SIGTERM or SIGINT, and at the latest on exit.

    Use it as it is, ``FastAPI(lifespan=draining)``, or inside a lifespan of your own. The options
    are those of :func:`drain`. It closes the layers, so there is no need for
    :func:`channel_layers_lifespan`. The application is ready again if an earlier one was drained.

    The first signal starts the drain; the server gets the signal when it is over. A second SIGINT
    (Ctrl+C) goes to the server at once. Outside of the main thread signals are left alone.

    Raises :class:`TypeError` and :class:`ValueError` for numbers that make no sense.
    """
    options = DrainOptions(timeout, jitter, batch)
    live = live_connections()
    if isinstance(live.gate, Drain) and live.gate.task.done():
        live.gate = None
    signals = HeldSignals(
        asyncio.get_running_loop(),
        lambda: _begin(options, live).task.add_done_callback(lambda _: signals.pass_on()),
    )
    signals.hold()
    outer, live.on_arrival = live.on_arrival, signals.stay_in_front
    try:
        yield
    finally:
        live.on_arrival = outer
        try:
            await _begin(options, live).join()
        finally:
            signals.release()
        # Requests may have used them since the drain.
        await close_layers(asyncio.get_running_loop().time() + GRACE)


def is_ready() -> bool:
    """Whether this process takes new connections: False from the start of a drain on.

    Any thread may ask. With several event loops it is False when one of them is drained.
    """
    return not any_gate_is_closed()


class _Readiness:
    """An object and no function, because Starlette takes a function for a view of its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"readiness answers HTTP requests, not {scope['type']!r}")
        ready = is_ready()
        headers = [PLAIN_TEXT, (b"cache-control", b"no-store")]
        status = 200 if ready else 503
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"ready" if ready else b"draining"})


readiness: Final[ASGIApp] = _Readiness()
"""An ASGI application for a readiness probe: 200 while :func:`is_ready`, then 503."""


class DrainMiddleware(BaseMiddleware):
    """Refuses new requests and WebSockets of a whole application during a drain, as consumers do.

    For applications with WebSockets or streams that are no consumers. Those that are open go on:
    only consumers are told of a drain.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = closed_gate()
        if gate is None or scope["type"] not in ("http", "websocket"):
            await super().__call__(scope, receive, send)
        else:
            await refuse(scope, receive, send, gate.retry_after())


def _begin(options: DrainOptions, live: LiveConnections | None = None) -> Drain:
    """The drain of the running loop, which starts now unless there is one."""
    live = live or live_connections()
    return live.gate if isinstance(live.gate, Drain) else Drain(live, options)
