"""The names of Django Channels 4 and channels_redis, and what takes their place."""

from typing import Final

from fast_channels.migration._finding import CHANNELS, Advice

SAME: Final = {
    "channels.generic.websocket.AsyncWebsocketConsumer": "fast_channels.consumer",
    "channels.generic.websocket.AsyncJsonWebsocketConsumer": "fast_channels.consumer",
    "channels.generic.http.AsyncHttpConsumer": "fast_channels.consumer",
    "channels.consumer.AsyncConsumer": "fast_channels.consumer",
    "channels.layers.channel_layers": "fast_channels.layers",
    "channels.layers.BaseChannelLayer": "fast_channels.layers",
    "channels.exceptions.AcceptConnection": "fast_channels.exceptions",
    "channels.exceptions.ChannelFull": "fast_channels.exceptions",
    "channels.exceptions.DenyConnection": "fast_channels.exceptions",
    "channels.exceptions.InvalidChannelLayerError": "fast_channels.exceptions",
    "channels.exceptions.MessageTooLarge": "fast_channels.exceptions",
    "channels.exceptions.StopConsumer": "fast_channels.exceptions",
    "channels.middleware.BaseMiddleware": "fast_channels.middleware",
    "channels.security.websocket.OriginValidator": "fast_channels.middleware",
    "channels.security.websocket.WebsocketDenier": "fast_channels.middleware",
    "channels.sessions.CookieMiddleware": "fast_channels.middleware",
    "channels.testing.ApplicationCommunicator": "fast_channels.testing",
    "channels.testing.HttpCommunicator": "fast_channels.testing",
    "channels.testing.WebsocketCommunicator": "fast_channels.testing",
    "channels_redis.core.RedisChannelLayer": "fast_channels.layers.redis",
    "channels_redis.pubsub.RedisPubSubChannelLayer": "fast_channels.layers.redis",
}
"""What keeps its name, and the module that has it."""

SECTIONS: Final = {
    "channels.generic": "consumers",
    "channels.consumer": "consumers",
    "channels.exceptions": "consumers",
    "channels.layers": "layers-and-settings",
    "channels_redis": "layers-and-settings",
    "channels.testing": "tests",
}
"""The section of the page by the beginning of the name; the others are in the one of routing."""

_ASYNC = "or keep it plain: see the page for which methods then run in a thread"
_LOGIN = "no counterpart: find the user in middleware of the framework, or in connect()"
_SESSION = "no counterpart: use the framework's sessions, or scope['cookies']"
_ROUTE = "make it a route of the framework: WebSocketRoute(path, Consumer.as_asgi())"
_DATABASE = (
    "make the method that needs the database a plain one (def), which then runs in a thread, "
    "or use asgiref's sync_to_async"
)

_OTHER: Final = {
    "channels.generic.websocket.WebsocketConsumer": (
        f"derive from fast_channels.consumer.AsyncWebsocketConsumer, with async methods, {_ASYNC}"
    ),
    "channels.generic.websocket.JsonWebsocketConsumer": (
        f"derive from fast_channels.consumer.AsyncJsonWebsocketConsumer, with async methods, "
        f"{_ASYNC}"
    ),
    "channels.consumer.SyncConsumer": (
        f"derive from fast_channels.consumer.AsyncConsumer, with async methods, {_ASYNC}"
    ),
    "channels.consumer.get_handler_name": (
        "no counterpart: override dispatch(), which is given the event"
    ),
    "channels.layers.get_channel_layer": (
        "import it from fast_channels.layers; an alias that is not registered raises "
        "InvalidChannelLayerError instead of giving None"
    ),
    "channels.layers.InMemoryChannelLayer": (
        "import it from fast_channels.layers; its options are given by keyword"
    ),
    "channels.layers.ChannelLayerManager": (
        "register_channel_layer(alias, layer) of fast_channels.layers takes the place of settings"
    ),
    "channels.exceptions.RequestAborted": "no counterpart: disconnect() is called instead",
    "channels.exceptions.RequestTimeout": "no counterpart: use asyncio.timeout()",
    "channels.security.websocket.AllowedHostsOriginValidator": (
        "use fast_channels.middleware.OriginValidator: without a list it allows the page's own "
        "host; ALLOWED_HOSTS would be allowed_origins"
    ),
    "channels.sessions.SessionMiddleware": _SESSION,
    "channels.sessions.SessionMiddlewareStack": _SESSION,
    "channels.auth.AuthMiddleware": _LOGIN,
    "channels.auth.AuthMiddlewareStack": _LOGIN,
    "channels.auth.UserLazyObject": _LOGIN,
    "channels.auth.get_user": _LOGIN,
    "channels.auth.login": _LOGIN,
    "channels.auth.logout": _LOGIN,
    "channels.routing.ProtocolTypeRouter": (
        "no counterpart, and no need: the framework has HTTP, and routes WebSockets itself"
    ),
    "channels.routing.URLRouter": (
        f"{_ROUTE}; what its path has captured is scope['path_params'], not scope['url_route']"
    ),
    "channels.routing.ChannelNameRouter": (
        "no runworker: a worker is a loop over layer.receive(channel), or layer.claim(channel)"
    ),
    "channels.routing.get_default_application": "no counterpart: name the application itself",
    "channels.worker.Worker": (
        "no runworker: a worker is a loop over layer.receive(channel), or layer.claim(channel)"
    ),
    "channels.db.database_sync_to_async": _DATABASE,
    "channels.db.DatabaseSyncToAsync": _DATABASE,
    "channels.db.aclose_old_connections": _DATABASE,
    "channels.utils.await_many_dispatch": "no counterpart: consumers do that themselves",
    "channels.testing.ChannelsLiveServerTestCase": (
        "no counterpart: run the server in a fixture, or use the communicators"
    ),
}

_MODULES: Final = {
    "channels.generic.websocket": "import the classes from fast_channels.consumer",
    "channels.generic.http": "import the class from fast_channels.consumer",
    "channels.security.websocket": "import the classes from fast_channels.middleware",
    "channels_redis": "the layers are in fast_channels.layers.redis",
    "channels_redis.core": "the layers are in fast_channels.layers.redis",
    "channels_redis.pubsub": "the layers are in fast_channels.layers.redis",
    "channels_redis.serializers": (
        "register_serializer of fast_channels.serializers takes the place of the registry"
    ),
}
"""Modules that can be nobody else's, imported as a whole."""


def _page(name: str) -> str:
    for start, section in SECTIONS.items():
        if name == start or name.startswith(f"{start}."):
            return f"{CHANNELS}#{section}"
    return f"{CHANNELS}#routing-and-middleware"


NAMES: Final = {
    **{
        name: Advice(f"import it from {module}", _page(name))
        for name, module in sorted(SAME.items())
    },
    **{name: Advice(todo, _page(name)) for name, todo in _OTHER.items()},
    **{name: Advice(todo, _page(name)) for name, todo in _MODULES.items()},
    "channels_redis.serializers.registry": Advice(
        "use register_serializer of fast_channels.serializers", _page("channels_redis")
    ),
}
# Where these are defined, apart from where they are usually imported from.
for _name in ("ApplicationCommunicator", "HttpCommunicator", "WebsocketCommunicator"):
    _module = _name.removesuffix("Communicator").lower()
    NAMES[f"channels.testing.{_module}.{_name}"] = NAMES[f"channels.testing.{_name}"]

BACKENDS: Final = {
    "channels.layers.InMemoryChannelLayer": "fast_channels.layers.InMemoryChannelLayer",
    "channels_redis.core.RedisChannelLayer": "fast_channels.layers.redis.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer": (
        "fast_channels.layers.redis.RedisPubSubChannelLayer"
    ),
}
