"""Communicators for tests of consumers and of any ASGI application.

`fast_channels.testing` has the same names for applications that import from one place.
"""

from fast_channels_testing.application import ApplicationCommunicator
from fast_channels_testing.exceptions import (
    ApplicationEnded,
    CommunicatorTimeout,
    UnexpectedFrame,
    WebsocketClosed,
)
from fast_channels_testing.http import HttpCommunicator, HttpResponse, HttpResponseStart
from fast_channels_testing.websocket import WebsocketCommunicator

__all__ = [
    "ApplicationCommunicator",
    "ApplicationEnded",
    "CommunicatorTimeout",
    "HttpCommunicator",
    "HttpResponse",
    "HttpResponseStart",
    "UnexpectedFrame",
    "WebsocketClosed",
    "WebsocketCommunicator",
]
