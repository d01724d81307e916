"""The names of 1.x, broadcaster and python-socketio, and what takes their place."""

from typing import Final

from fast_channels.migration._finding import BROADCASTER, FROM_1X, SOCKETIO, Advice

# fast-channels 1.x

_TYPES: Final = {
    "ASGI3Application": "ASGIApp of fast_channels.types",
    "ASGIApplication": "ASGIApp of fast_channels.types",
    "ASGIApplicationProtocol": "ConsumerApplication of fast_channels.consumer",
    "ASGIReceiveCallable": "Receive of fast_channels.types",
    "ASGISendCallable": "Send of fast_channels.types",
    "ChannelApplication": "ASGIApp of fast_channels.types",
    "ChannelCapacityDict": "ChannelCapacity of fast_channels.layers.base",
    "ChannelHeaders": "Headers of fast_channels.types",
    "ChannelMessage": "Event of fast_channels.types in consumers, Message for what is sent",
    "ChannelScope": "Scope of fast_channels.types",
    "HttpDisconnectEvent": "HTTPDisconnectEvent of asgiref.typing",
    "HttpRequestEvent": "HTTPRequestEvent of asgiref.typing",
    "HttpResponseBodyEvent": "HTTPResponseBodyEvent of asgiref.typing",
    "HttpResponseStartEvent": "HTTPResponseStartEvent of asgiref.typing",
    "MiddlewareProtocol": "BaseMiddleware of fast_channels.middleware",
    "WebSocketAcceptEvent": "WebSocketAcceptEvent of asgiref.typing",
    "WebSocketCloseEvent": "WebSocketCloseEvent of asgiref.typing",
    "WebSocketConnectEvent": "WebSocketConnectEvent of asgiref.typing",
    "WebSocketDisconnectEvent": "WebSocketDisconnectEvent of asgiref.typing",
    "WebSocketReceiveEvent": "WebSocketReceiveEvent of asgiref.typing",
}

_REDIS: Final = "import the layer from fast_channels.layers.redis, which is no package now"
_TESTING: Final = "import the class from fast_channels.testing, which is no package now"

_MOVED: Final = {
    "consumer.base.get_handler_name": "no counterpart: override dispatch(event)",
    "type_defs": "the module is fast_channels.types, with other names",
    "utils": "no counterpart",
    "layers.redis.core": _REDIS,
    "layers.redis.pubsub": _REDIS,
    "layers.redis.serializers": (
        "use register_serializer and MessageSerializer of fast_channels.serializers"
    ),
    "layers.redis.type_defs": "no counterpart: the options of the layers are typed",
    "layers.redis.utils": "no counterpart",
    "testing.application": _TESTING,
    "testing.http": _TESTING,
    "testing.websocket": _TESTING,
}

ONE_X: Final = {
    **{
        f"fast_channels.{name}": Advice(todo, f"{FROM_1X}#imports") for name, todo in _MOVED.items()
    },
    **{
        f"fast_channels.type_defs.{name}": Advice(f"use {todo}", f"{FROM_1X}#imports")
        for name, todo in _TYPES.items()
    },
}

# broadcaster

NO_BACKEND: Final = Advice(
    "no counterpart: use Redis, or write a layer on BrokerChannelLayer", f"{BROADCASTER}#backends"
)
SCHEMES: Final = {
    "memory": Advice(
        'register_channel_layer("default", InMemoryChannelLayer())', f"{BROADCASTER}#backends"
    ),
    "redis": Advice("RedisPubSubChannelLayer(hosts=[url])", f"{BROADCASTER}#backends"),
    "rediss": Advice("RedisPubSubChannelLayer(hosts=[url])", f"{BROADCASTER}#backends"),
    "redis-stream": Advice(
        "RedisChannelLayer(hosts=[url]), with redis:// in the URL", f"{BROADCASTER}#backends"
    ),
    "postgres": NO_BACKEND,
    "postgresql": NO_BACKEND,
    "kafka": NO_BACKEND,
}
BROADCAST: Final = {
    "broadcaster.Broadcast": Advice(
        "register a layer, and give each connection a consumer", f"{BROADCASTER}#what-maps-to-what"
    ),
    "broadcaster.BroadcastBackend": NO_BACKEND,
}
BROADCAST_CALLS: Final = {
    "publish": Advice(
        'group_send(group, {"type": …, …}), or a consumer\'s broadcast(group, text=…)',
        f"{BROADCASTER}#what-maps-to-what",
    ),
    "subscribe": Advice(
        "group_add in a consumer's connect(); a handler takes the place of the loop",
        f"{BROADCASTER}#what-maps-to-what",
    ),
    "connect": Advice(
        "no counterpart, and no need: layers connect when they are used",
        f"{BROADCASTER}#what-maps-to-what",
    ),
    "disconnect": Advice(
        "FastAPI(lifespan=channel_layers_lifespan), or await close_channel_layers()",
        f"{BROADCASTER}#what-maps-to-what",
    ),
}

# python-socketio

_MAP: Final = f"{SOCKETIO}#what-maps-to-what"
_SERVER: Final = Advice(
    "a consumer class for each namespace, at a path of its own; the clients change, too", _MAP
)
_MANAGER: Final = Advice(
    "register a RedisPubSubChannelLayer; get_sync_channel_layer() sends from elsewhere", _MAP
)
_CLIENT: Final = Advice(
    "clients use a plain WebSocket library: the protocol is another", f"{SOCKETIO}#the-client"
)

SOCKETS: Final = {
    "socketio.AsyncServer": _SERVER,
    "socketio.Server": _SERVER,
    "socketio.AsyncNamespace": _SERVER,
    "socketio.Namespace": _SERVER,
    "socketio.ASGIApp": Advice("a route of the framework for each consumer", _MAP),
    "socketio.WSGIApp": Advice("an ASGI server and a route for each consumer", _MAP),
    "socketio.AsyncManager": _MANAGER,
    "socketio.AsyncRedisManager": _MANAGER,
    "socketio.RedisManager": _MANAGER,
    "socketio.AsyncAioPikaManager": _MANAGER,
    "socketio.KombuManager": _MANAGER,
    "socketio.KafkaManager": _MANAGER,
    "socketio.ZmqManager": _MANAGER,
    "socketio.AsyncClient": _CLIENT,
    "socketio.Client": _CLIENT,
    "socketio.AsyncSimpleClient": _CLIENT,
    "socketio.SimpleClient": _CLIENT,
}
SOCKET_CALLS: Final = {
    "emit": Advice(
        "to one client: self.send_json(…) in its consumer, or layer.send(channel_name, …); to a "
        "room: layer.group_send(group, …), or broadcast(group, json=…)",
        _MAP,
    ),
    "send": Advice("as emit: self.send_json(…), layer.send(…) or layer.group_send(…)", _MAP),
    "call": Advice(
        "no acknowledgements: send an id along, and have the client answer with it",
        f"{SOCKETIO}#acknowledgements",
    ),
    "enter_room": Advice("self.channel_layer.group_add(group, self.channel_name)", _MAP),
    "leave_room": Advice("self.channel_layer.group_discard(group, self.channel_name)", _MAP),
    "close_room": Advice(
        "send the group a message whose handler discards the group", f"{SOCKETIO}#what-is-missing"
    ),
    "rooms": Advice("keep the groups in an attribute of the consumer", _MAP),
    "get_session": Advice("attributes of the consumer take its place", _MAP),
    "save_session": Advice("attributes of the consumer take its place", _MAP),
    "session": Advice("attributes of the consumer take its place", _MAP),
    "disconnect": Advice(
        'self.close(code), or layer.send(channel_name, {"type": "websocket.close"})', _MAP
    ),
    "event": Advice("a method of the consumer, called from receive_json()", _MAP),
    "on": Advice("a method of the consumer, called from receive_json()", _MAP),
    "register_namespace": Advice("a route for the consumer", _MAP),
    "start_background_task": Advice("asyncio.create_task(), and keep the task", _MAP),
}
