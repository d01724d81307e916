"""Which events reach which methods of a consumer class; worked out once for each class."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from fast_channels.exceptions import UnhandledEventError
from fast_channels.types import Event

Handler = Callable[[Event], Awaitable[None]]

_LIBRARY: Final = "fast_channels.consumer."
_LAYER_EVENTS: Final = frozenset({"layer_gap", "sse_event", "websocket_send", "websocket_close"})
"""Events of a layer that the library's own classes have handlers for."""
_PROTOCOLS: Final = ("websocket_", "http_", "lifespan_")


class EventTable:
    """The handlers of one consumer class.

    Anybody who can send to a group chooses the event's type. So an event from a layer reaches
    only the coroutine methods that the application's own classes declare as handlers: no method
    that a library class has, overridden or not, no handler of the server's events, nothing
    private. Plain methods that look like handlers have become such by now; see in_thread().
    """

    __slots__ = (
        "_by_type",
        "_names",
        "_owner",
        "_reserved",
        "overrides_dispatch",
        "sends_plain_json",
        "takes_frames",
    )

    def __init__(self, owner: type) -> None:
        self._owner = owner
        self._reserved: set[str] = set()
        declared: set[str] = set()
        for base in owner.__mro__:
            (self._reserved if is_of_the_library(base) else declared).update(vars(base))
        names = {
            name for name in declared - self._reserved if not name.startswith(("_", *_PROTOCOLS))
        }
        # Not every consumer has those of the library.
        self._names = frozenset(
            name
            for name in names | _LAYER_EVENTS
            if inspect.iscoroutinefunction(getattr(owner, name, None))
        )
        # Event types that were found in the names: at most as many as there are ways to write one.
        self._by_type: dict[str, str] = {}
        self.overrides_dispatch = not _is_ours(owner, "dispatch")
        self.takes_frames = not self.overrides_dispatch and _is_ours(owner, "websocket_send")
        """Whether a ``websocket.send`` message means a write to the socket and nothing else."""
        self.sends_plain_json = _is_ours(owner, "encode_json") and _is_ours(owner, "send")
        """Whether ``send_json`` means encoding by msgspec and a write, and nothing else."""

    def find_for_layer(self, consumer: object, event: Event) -> Handler:
        """The handler of an event from a layer. Raises :class:`UnhandledEventError`."""
        event_type = event["type"]
        name = self._by_type.get(event_type)
        if name is None:
            name = event_type.replace(".", "_")
            if name not in self._names:
                raise UnhandledEventError(self._why_unhandled(event_type, name))
            self._by_type[event_type] = name
        handler: Handler = getattr(consumer, name)
        return handler

    def find_for_server(self, consumer: object, event: Event) -> Handler:
        """The handler of an ASGI event. Raises :class:`UnhandledEventError`."""
        event_type: str = event["type"]
        name = event_type.replace(".", "_")
        # A type without a protocol in front could name any method.
        public = "." in event_type and not name.startswith("_")
        handler: Handler | None = getattr(consumer, name, None) if public else None
        if handler is None:
            raise UnhandledEventError(
                f"{self._owner.__qualname__} has no handler for the server's event "
                f"{event_type!r}: declare 'async def {name}(self, event)'"
            )
        return handler

    def _why_unhandled(self, event_type: str, name: str) -> str:
        title = self._owner.__qualname__
        if name.startswith("_"):
            reason = "event types that start with an underscore reach no handler"
        elif name.startswith(_PROTOCOLS) or name in self._reserved:
            reason = f"{name} is not for events from a channel layer"
        elif callable(getattr(self._owner, name, None)):
            reason = (
                f"{title}.{name} is not a coroutine method (async def), nor a plain one that "
                f"looks like a handler, '{name}(self, event)': put @in_thread above it if it is"
            )
        else:
            known = ", ".join(sorted(self._names - _LAYER_EVENTS)) or "none"
            reason = f"declare 'async def {name}(self, event)' (declared: {known})"
        return f"{title} has no handler for the event {event_type!r}: {reason}"


def is_of_the_library(base: type) -> bool:
    return base is object or base.__module__.startswith(_LIBRARY)


def _is_ours(owner: type, name: str) -> bool:
    method = getattr(owner, name, None)
    return method is not None and method.__module__.startswith(_LIBRARY)
