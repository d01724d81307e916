"""Sends from a process without an event loop."""

from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.management import BaseCommand
from django.core.management.base import CommandParser


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("group")
        parser.add_argument("channel")
        parser.add_argument("texts", nargs="+")

    def handle(self, *_: Any, group: str, channel: str, texts: list[str], **__: Any) -> None:
        layer = get_channel_layer()
        for text in texts:
            async_to_sync(layer.group_send)(group, {"type": "chat.message", "text": text})
            async_to_sync(layer.send)(channel, {"type": "chat.message", "text": text})
