"""The consumers beside a Django application, without Django Channels."""

from typing import cast

from asgi import lifespan
from consumers import Chat, Control, Ending, Faulty, Mirror, Stream
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from reporting import report_log

from fast_channels.layers import (
    InMemoryChannelLayer,
    get_sync_channel_layer,
    group_name,
    register_channel_layer,
)
from fast_channels.types import ASGIApp, Receive, Scope, Send

report_log()
register_channel_layer("default", InMemoryChannelLayer(capacity=10_000))
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not one",
    USE_TZ=True,
    LOGGING_CONFIG=None,
)


def announce(request: HttpRequest, room: str) -> HttpResponse:
    text = request.GET["text"]
    event = {"type": "chat.message", "name": "announcer", "text": text}
    get_sync_channel_layer().group_send(group_name("room", room), event)
    return JsonResponse({"announced": text})


urlpatterns = [path("announce/<room>", announce)]
django_application = cast("ASGIApp", get_asgi_application())
chat = Chat.as_asgi()
consumers: dict[tuple[str, str], ASGIApp] = {
    ("lifespan", ""): lifespan,
    ("websocket", "/ending"): Ending.as_asgi(),
    ("http", "/control"): Control.as_asgi(),
    ("http", "/mirror"): Mirror.as_asgi(),
    ("http", "/stream"): Stream.as_asgi(),
    ("http", "/faulty"): Faulty.as_asgi(),
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    kind, path = scope["type"], scope.get("path", "")
    if kind == "websocket" and path.startswith("/chat/"):
        scope["path_params"] = {"room": path.removeprefix("/chat/")}
        await chat(scope, receive, send)
    else:
        await consumers.get((kind, path), django_application)(scope, receive, send)
