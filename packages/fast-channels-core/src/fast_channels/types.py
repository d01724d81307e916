"""Type aliases of the public interface, in the terms of the ASGI specification.

They match the aliases of Starlette, so an application typed with either fits the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any, Protocol, TypeAlias

__all__ = [
    "ASGIApp",
    "ASGIConnection",
    "ConsumerProbe",
    "Event",
    "Headers",
    "Message",
    "Receive",
    "Scope",
    "Send",
]

Scope: TypeAlias = MutableMapping[str, Any]
"""What an ASGI server says about a connection; ``scope["type"]`` tells its kind."""

Message: TypeAlias = dict[str, Any]
"""What travels through a channel layer: a ``"type"`` string and values that MessagePack carries."""

Event: TypeAlias = dict[str, Any]
"""What a consumer's handler is given: an ASGI event or a message from the layer."""

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Waits for the next ASGI event from the server."""

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
"""Hands one ASGI event to the server."""

ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application; called once for each connection."""

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Header names, in lower case, and values as ASGI has them; a name may come more than once."""


class ASGIConnection(Protocol):
    """The three things of an ASGI call in one object, as the ``WebSocket`` of Starlette is.

    Frameworks have types of their own for scopes and events, so these are open here.
    """

    @property
    def scope(self) -> Any: ...
    @property
    def receive(self) -> Callable[[], Awaitable[Any]]: ...
    @property
    def send(self) -> Any: ...


class ConsumerProbe(Protocol):
    """What a test kit puts at ``scope["extensions"]["fast_channels.testing"]``.

    Consumers report to it what a server has no use for, so that a failing test can show
    its real cause. Applications have no need of it.
    """

    def application_started(
        self,
        consumer: object,
        task: asyncio.Task[None],
        unfinished: Callable[[], Collection[asyncio.Future[Any]]],
    ) -> None:
        """Called once, with the consumer and the task that runs its handlers.

        ``unfinished`` returns nothing while the consumer waits for something new, and after its
        end. Otherwise it has events or frames in flight; when one of the futures is done, ask
        again.
        """
        ...

    def application_error(self, exc: BaseException) -> None:
        """Called when a handler raised, before ``on_error`` is given the exception."""
        ...
