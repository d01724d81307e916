"""What servers and ``runworker`` serve."""

import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_project.settings")
django_application = get_asgi_application()

from django_project import consumers  # noqa: E402  # after Django was set up

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [
                path("async/<room>", consumers.AsyncRoom.as_asgi()),
                path("sync/<room>", consumers.SyncRoom.as_asgi()),
                path("json/<room>", consumers.JsonRoom.as_asgi()),
                path("async-json/<room>", consumers.AsyncJsonRoom.as_asgi()),
                path("everybody", consumers.Everybody.as_asgi()),
            ]
        ),
        "channel": ChannelNameRouter(
            {
                "work": consumers.Worker.as_asgi(),
                "sync-work": consumers.SyncWorker.as_asgi(),
            }
        ),
    }
)
