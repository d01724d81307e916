"""Communicators for tests of consumers and of any ASGI application, and a layer with faults.

`fast_channels.testing` has the same names for applications that import from one place.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fast_channels_testing._lifespan import RunningApplication, lifespan
    from fast_channels_testing.application import ApplicationCommunicator
    from fast_channels_testing.captured import (
        AssertNotSent,
        AssertSent,
        CapturedMessage,
        CapturedMessages,
    )
    from fast_channels_testing.exceptions import (
        ApplicationEnded,
        CommunicatorTimeout,
        LifespanFailed,
        UnexpectedFrame,
        WebsocketClosed,
    )
    from fast_channels_testing.faults import Fault, FaultyChannelLayer
    from fast_channels_testing.http import (
        HttpCommunicator,
        HttpResponse,
        HttpResponseStart,
        ServerSentEvent,
    )
    from fast_channels_testing.overrides import ChannelLayerOverrides
    from fast_channels_testing.websocket import WebsocketCommunicator
else:
    # pytest imports the plugin, and with it this package, in every project where it is installed.
    # So nothing is imported here before somebody asks for it.
    from importlib import import_module

    _HOMES = {
        "ApplicationCommunicator": "application",
        "ApplicationEnded": "exceptions",
        "AssertNotSent": "captured",
        "AssertSent": "captured",
        "CapturedMessage": "captured",
        "CapturedMessages": "captured",
        "ChannelLayerOverrides": "overrides",
        "CommunicatorTimeout": "exceptions",
        "Fault": "faults",
        "FaultyChannelLayer": "faults",
        "HttpCommunicator": "http",
        "HttpResponse": "http",
        "HttpResponseStart": "http",
        "LifespanFailed": "exceptions",
        "RunningApplication": "_lifespan",
        "ServerSentEvent": "http",
        "UnexpectedFrame": "exceptions",
        "WebsocketClosed": "exceptions",
        "WebsocketCommunicator": "websocket",
        "lifespan": "_lifespan",
    }

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ApplicationCommunicator",
    "ApplicationEnded",
    "AssertNotSent",
    "AssertSent",
    "CapturedMessage",
    "CapturedMessages",
    "ChannelLayerOverrides",
    "CommunicatorTimeout",
    "Fault",
    "FaultyChannelLayer",
    "HttpCommunicator",
    "HttpResponse",
    "HttpResponseStart",
    "LifespanFailed",
    "RunningApplication",
    "ServerSentEvent",
    "UnexpectedFrame",
    "WebsocketClosed",
    "WebsocketCommunicator",
    "lifespan",
]
