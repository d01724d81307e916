"""Consumers: a class for a connection, a method for an event."""

from fast_channels.consumer._concurrent import concurrent as concurrent
from fast_channels.consumer._outbox import Outbox as Outbox
from fast_channels.consumer._threads import in_thread as in_thread
from fast_channels.consumer.base import AsyncConsumer as AsyncConsumer
from fast_channels.consumer.base import ConsumerApplication as ConsumerApplication
from fast_channels.consumer.http import AsyncHttpConsumer as AsyncHttpConsumer
from fast_channels.consumer.sse import AsyncSSEConsumer as AsyncSSEConsumer
from fast_channels.consumer.websocket import (
    AsyncJsonWebsocketConsumer as AsyncJsonWebsocketConsumer,
)
from fast_channels.consumer.websocket import AsyncWebsocketConsumer as AsyncWebsocketConsumer

__all__ = [
    "AsyncConsumer",
    "AsyncHttpConsumer",
    "AsyncJsonWebsocketConsumer",
    "AsyncSSEConsumer",
    "AsyncWebsocketConsumer",
    "ConsumerApplication",
    "Outbox",
    "concurrent",
    "in_thread",
]
