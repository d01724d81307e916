"""Views that send: the usual sync ones, and one of Django's async ones."""

import gc

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.http import HttpRequest, HttpResponse


def announce(request: HttpRequest, group: str, text: str) -> HttpResponse:
    message = {"type": "chat.message", "text": text}
    async_to_sync(get_channel_layer().group_send)(group, message)
    return HttpResponse("sent")


async def announce_async(request: HttpRequest, group: str, text: str) -> HttpResponse:
    await get_channel_layer().group_send(group, {"type": "chat.message", "text": text})
    return HttpResponse("sent")


def tell(request: HttpRequest, channel: str, text: str) -> HttpResponse:
    try:
        async_to_sync(get_channel_layer().send)(channel, {"type": "chat.message", "text": text})
    except ChannelFull:
        return HttpResponse("full")
    return HttpResponse("sent")


def collect(request: HttpRequest) -> HttpResponse:
    gc.collect()
    return HttpResponse("collected")
