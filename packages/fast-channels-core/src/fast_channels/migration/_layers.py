"""Layers: settings, options, the types of messages, and calls from code without an event loop."""

import ast
from collections.abc import Iterator
from typing import Final

from fast_channels.migration._consumers import COROUTINES, NEW
from fast_channels.migration._finding import CHANNELS, FROM_1X, Advice, Finding
from fast_channels.migration._module import Module, literal_type, text
from fast_channels.migration._names_channels import BACKENDS

# A test compares these with the classes.
OPTIONS: Final = frozenset(
    {
        "hosts",
        "sentinels",
        "service_name",
        "sentinel_kwargs",
        "connection_kwargs",
        "cluster",
        "prefix",
        "expiry",
        "group_expiry",
        "capacity",
        "channel_capacity",
        "symmetric_encryption_keys",
        "serializer_format",
        "random_prefix_length",
        "max_message_bytes",
        "send_timeout",
        "linger",
        "liveness_timeout",
        "claim_timeout",
        "max_deliveries",
        "on_disconnect",
        "on_reconnect",
    }
)
"""Of both Redis layers."""

QUEUE_OPTIONS: Final = frozenset({"lease", "wait_replicas"})

_SECTION: Final = f"{CHANNELS}#layers-and-settings"
_OPTION: Final = Advice("take it out: the layer refuses options that it does not know", _SECTION)
_POSITIONAL: Final = Advice("give all options but hosts by keyword", f"{FROM_1X}#behaviour")
_NO_LAYER: Final = Advice("no counterpart that is known here: choose one of the layers", _SECTION)
_PAGE_OF_TYPES: Final = f"{CHANNELS}#names-that-are-taken"
_BLOCKING: Final = Advice(
    "works; get_sync_channel_layer(alias) costs less, and in a coroutine await the call itself",
    f"{CHANNELS}#sending-from-elsewhere",
    required=False,
)
_LAYER_EVENTS: Final = frozenset({"layer_gap", "sse_event", "websocket_close", "websocket_send"})
_OF_RESPONSES: Final = frozenset({"handle", "send_body", "send_headers", "send_response"})
UNREACHABLE: Final = COROUTINES.union(*NEW.values()) - _OF_RESPONSES - _LAYER_EVENTS
_PROTOCOLS: Final = ("http_", "lifespan_", "websocket_")


def find_in_settings(module: Module) -> Iterator[Finding]:
    """Backends in ``CHANNEL_LAYERS``, and their options."""
    for node in module.nodes:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(_is_setting(each) for each in targets):
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Dict):
                    yield from _backend(module, inner)


def _is_setting(target: ast.expr) -> bool:
    while isinstance(target, ast.Subscript):
        target = target.value
    return isinstance(target, ast.Name) and target.id == "CHANNEL_LAYERS"


def _backend(module: Module, settings: ast.Dict) -> Iterator[Finding]:
    entries = {text(key): value for key, value in zip(settings.keys, settings.values, strict=True)}
    backend = text(entries.get("BACKEND"))
    if backend is None:
        return
    where = entries["BACKEND"]
    if backend in BACKENDS:
        yield module.finding(
            where, "layer-settings", backend, Advice(f'"{BACKENDS[backend]}"', _SECTION)
        )
    elif not backend.startswith("fast_channels"):
        yield module.finding(where, "layer-settings", backend, _NO_LAYER)
    options = entries.get("CONFIG")
    if isinstance(options, ast.Dict) and "Redis" in backend:
        for key in options.keys:
            name = text(key)
            if key is not None and name is not None and not _is_option(name, backend):
                yield module.finding(key, "layer-options", name, _OPTION)


def _is_option(name: str, layer: str) -> bool:
    queue = layer.endswith("RedisChannelLayer")
    return name in OPTIONS or (queue and name in QUEUE_OPTIONS)


_CLASSES: Final = frozenset(
    f"{module}.{name}"
    for module in ("fast_channels.layers", "fast_channels.layers.redis")
    for name in ("RedisChannelLayer", "RedisPubSubChannelLayer")
) | {*BACKENDS, "fast_channels.layers.InMemoryChannelLayer"}


def find_in_calls(module: Module) -> Iterator[Finding]:
    """Layers that are made, messages that are sent, and ``async_to_sync`` around a layer."""
    for node in module.nodes:
        if not isinstance(node, ast.Call):
            continue
        layer = module.called(node)
        if layer in _CLASSES:
            yield from _options(module, node, layer)
        yield from _message(module, node)
        if layer == "asgiref.sync.async_to_sync" and len(node.args) == 1:
            method = node.args[0]
            if isinstance(method, ast.Attribute) and (
                method.attr in ("group_send", "group_add", "group_discard")
                or (method.attr == "send" and _is_layer(module, method.value))
            ):
                what = f"async_to_sync({ast.unparse(method)})"
                yield module.finding(node, "async-to-sync", what, _BLOCKING)


def _options(module: Module, node: ast.Call, layer: str) -> Iterator[Finding]:
    in_memory = layer.endswith("InMemoryChannelLayer")
    extra = node.args[0 if in_memory else 1 :]
    if extra and not isinstance(extra[0], ast.Starred):
        what = f"{layer.rpartition('.')[2]}(…) with positional options"
        yield module.finding(node, "layer-options", what, _POSITIONAL)
    for keyword in node.keywords:
        known = in_memory or keyword.arg is None or _is_option(keyword.arg, layer)
        if not known:
            yield module.finding(keyword.value, "layer-options", f"{keyword.arg}=", _OPTION)


def _message(module: Module, node: ast.Call) -> Iterator[Finding]:
    """``group_send(group, {"type": …})`` with a type that reaches no handler."""
    match node.func:
        case ast.Attribute(attr="group_send"):
            pass
        case ast.Attribute(attr="send", value=owner) if _is_layer(module, owner):
            pass
        case ast.Call(args=[ast.Attribute(attr="group_send")]):
            pass  # async_to_sync(layer.group_send)(…)
        case ast.Call(args=[ast.Attribute(attr="send", value=owner)]) if _is_layer(module, owner):
            pass
        case _:
            return
    for each in (*node.args[1:2], *(k.value for k in node.keywords if k.arg == "message")):
        name = literal_type(each)
        handler = (name or "").replace(".", "_")
        if name is None:
            continue
        if handler.startswith("_"):
            todo = "begin it with a letter: such types reach no handler"
        elif handler in UNREACHABLE or (
            handler.startswith(("http_", "lifespan_", "websocket_"))
            and handler not in _LAYER_EVENTS
        ):
            todo = f"name it otherwise: no message from a layer reaches {handler}()"
        else:
            continue
        advice = Advice(todo, _PAGE_OF_TYPES)
        yield module.finding(each, "unreachable", f'{{"type": "{name}"}}', advice)


def _is_layer(module: Module, node: ast.expr) -> bool:
    """Whether an expression says by its name that it is a channel layer."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name == "layer" or name.endswith("channel_layer")
        case ast.Call():
            called = module.called(node) or ""
            return called.endswith((".get_channel_layer", ".get_sync_channel_layer"))
        case _:
            return False
