"""What tests, own layers and middleware of Django Channels and 1.x do, and cannot any more."""

import ast
from collections.abc import Iterator
from typing import Final

from fast_channels.migration._finding import CHANNELS, FROM_1X, Advice, Finding
from fast_channels.migration._module import Module, text

_TESTS: Final = f"{CHANNELS}#tests"
_BEHAVIOUR: Final = f"{FROM_1X}#behaviour"
_SECTION: Final = f"{CHANNELS}#layers-and-settings"

_HEADERS: Final = Advice('use handshake_response["headers"]', _TESTS)
_PATH: Final = Advice("begin the path with a slash: anything else raises ValueError", _TESTS)
_ORDER: Final = Advice("the method comes before the path, and has no default", _BEHAVIOUR)
_APP: Final = Advice("call it app, or give it by position", _BEHAVIOUR)
_PATTERN: Final = Advice(
    'write ".example.com" for all subdomains: patterns that fit nothing raise ValueError',
    _BEHAVIOUR,
)
_INSIDE: Final = Advice(
    "no counterpart: what is inside is private; in tests captured_messages has what was sent",
    _SECTION,
)
_OWN_LAYER: Final = Advice(
    "add close_channel() and close(), which are abstract now, or derive from BrokerChannelLayer",
    _SECTION,
)

_MODULES: Final = ("channels.testing", "channels.testing.websocket", "fast_channels.testing")
_COMMUNICATORS: Final = frozenset(f"{module}.WebsocketCommunicator" for module in _MODULES)
_IN_MEMORY: Final = frozenset(
    f"{module}.{name}"
    for module in ("channels.layers", "fast_channels.layers")
    for name in ("InMemoryChannelLayer", "get_channel_layer")
)
_BASES: Final = frozenset(
    {
        "channels.layers.BaseChannelLayer",
        "fast_channels.layers.BaseChannelLayer",
        "fast_channels.layers.base.BaseChannelLayer",
    }
)
_VALIDATORS: Final = (
    "channels.security.websocket.OriginValidator",
    "fast_channels.middleware.OriginValidator",
)


def find_usage(module: Module) -> Iterator[Finding]:
    clients, layers = assigned(module, _COMMUNICATORS), assigned(module, _IN_MEMORY)
    for node in module.nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr="response_headers") if name in clients:
                yield module.finding(node, "tests", f"{name}.response_headers", _HEADERS)
            case ast.Attribute(value=ast.Name(id=name), attr="channels" | "groups" as attr) if (
                name in layers
            ):
                yield module.finding(node, "layer-inside", f"{name}.{attr}", _INSIDE)
            case ast.ClassDef(bases=[base]) if module.full_name(base) in _BASES:
                if not any(isinstance(each, ast.AsyncFunctionDef) for each in node.body):
                    continue  # one that others derive from
                if not any(getattr(each, "name", "") == "close_channel" for each in node.body):
                    yield module.finding(node, "own-layer", node.name, _OWN_LAYER)
            case ast.Call():
                yield from _arguments(module, node)
            case _:
                pass


def _arguments(module: Module, node: ast.Call) -> Iterator[Finding]:
    called = module.called(node)
    second = text(node.args[1]) if len(node.args) > 1 else None
    if called in _COMMUNICATORS:
        if second is not None and not second.startswith("/"):
            yield module.finding(node, "tests", f"WebsocketCommunicator(…, {second!r})", _PATH)
    elif called == "fast_channels.testing.HttpCommunicator":
        if second is not None and second.startswith("/"):
            yield module.finding(node, "tests", f"HttpCommunicator(…, {second!r})", _ORDER)
    elif called in _VALIDATORS:
        if "application" in {each.arg for each in node.keywords}:
            what = "OriginValidator(application=…)"
            yield module.finding(node, "fast-channels-1.x", what, _APP)
        given = [*node.args[1:2], *(each.value for each in node.keywords)]
        for pattern in (each for each in given if isinstance(each, ast.List | ast.Tuple)):
            for each in pattern.elts:
                if "*." in (text(each) or ""):
                    yield module.finding(each, "origin-pattern", repr(text(each)), _PATTERN)


def assigned(module: Module, made_by: frozenset[str]) -> frozenset[str]:
    """The names that the result of one of these calls is assigned to, in the whole file."""
    targets: list[ast.expr | None] = []
    for node in module.nodes:
        match node:
            case ast.Assign(targets=several, value=value) if module.called(value) in made_by:
                targets += several
            case ast.AnnAssign(target=target, value=ast.Call() as value) if (
                module.called(value) in made_by
            ):
                targets.append(target)
            case ast.withitem(context_expr=value, optional_vars=target) if (
                module.called(value) in made_by
            ):
                targets.append(target)
            case _:
                pass
    return frozenset(each.id for each in targets if isinstance(each, ast.Name))
