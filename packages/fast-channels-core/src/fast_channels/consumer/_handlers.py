"""Which events reach which methods of a consumer class."""

import inspect
from typing import Final

_LIBRARY: Final = "fast_channels.consumer."
_LAYER_EVENTS: Final = frozenset({"layer_gap", "websocket_send", "websocket_close"})
"""Events of a layer that the library's own classes have handlers for."""
_PROTOCOLS: Final = ("websocket_", "http_", "lifespan_")


def handler_name(event_type: str) -> str:
    return event_type.replace(".", "_")


def layer_handlers(consumer_class: type) -> frozenset[str]:
    """The methods that an event from a layer may reach.

    Anybody who can send to a group chooses the event's type, so these are only the coroutine
    methods that the application's own classes declare as handlers: no method that a library
    class has, overridden or not, no handler of the server's events, nothing private.
    """
    reserved: set[str] = set()
    declared: set[str] = set()
    for base in consumer_class.__mro__:
        (reserved if base is object or base.__module__.startswith(_LIBRARY) else declared).update(
            vars(base)
        )
    names = {
        name for name in declared - reserved if not name.startswith(("_", *_PROTOCOLS))
    } | _LAYER_EVENTS
    return frozenset(
        name for name in names if inspect.iscoroutinefunction(getattr(consumer_class, name, None))
    )


def why_unhandled(consumer_class: type, event_type: str, handlers: frozenset[str]) -> str:
    """The sentence for an event from a layer that no handler takes."""
    name, title = handler_name(event_type), consumer_class.__qualname__
    if name.startswith("_"):
        reason = "event types that start with an underscore reach no handler"
    elif name.startswith(_PROTOCOLS) or hasattr(consumer_class.__mro__[-2], name):
        reason = f"{name} is not for events from a channel layer"
    elif callable(getattr(consumer_class, name, None)):
        reason = (
            f"{title}.{name} is not for events from a channel layer, "
            "or it is not a coroutine method (async def)"
        )
    else:
        known = ", ".join(sorted(handlers - _LAYER_EVENTS)) or "none"
        reason = f"declare 'async def {name}(self, event)' (declared: {known})"
    return f"{title} has no handler for the event {event_type!r}: {reason}"
