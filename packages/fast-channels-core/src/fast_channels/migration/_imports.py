"""Imports and uses of names that have another place now, and of those that have none."""

import ast
from collections.abc import Iterator
from typing import Final

from fast_channels.migration import _names_channels, _names_others
from fast_channels.migration._finding import FROM_1X, Advice, Finding
from fast_channels.migration._module import Module, join, source_of, text

_KINDS: Final[dict[str, dict[str, Advice]]] = {
    "django-channels": _names_channels.NAMES,
    "fast-channels-1.x": _names_others.ONE_X,
    "broadcaster": _names_others.BROADCAST,
    "python-socketio": _names_others.SOCKETS,
}
_KNOWN: Final = {
    name: (kind, advice) for kind, names in _KINDS.items() for name, advice in names.items()
}


def find_imports(module: Module) -> Iterator[Finding]:
    """Names as they are imported, or as attributes of imported modules."""
    for node in module.nodes:
        match node:
            case ast.Import():
                for name in node.names:
                    yield from _known(module, node, name.name)
            case ast.ImportFrom():
                source = source_of(node)
                for name in node.names:
                    full = source if name.name == "*" else join(source, name.name)
                    yield from _known(module, node, full)
            case ast.Attribute():
                used = module.full_name(node)
                # The imported name itself was reported where it was imported.
                if used is not None and used not in module.imports.values():
                    yield from _known(module, node, used)
            case _:
                pass


def _known(module: Module, node: ast.expr | ast.stmt, name: str) -> Iterator[Finding]:
    found = _KNOWN.get(name)
    if found is None and isinstance(node, ast.ImportFrom):
        # A name that a module has which is gone as a whole, or a star.
        name, found = source_of(node), _KNOWN.get(source_of(node))
    if found is not None:
        kind, advice = found
        yield module.finding(node, kind, name, advice)


def find_calls(module: Module) -> Iterator[Finding]:
    """What is done with a ``Broadcast`` and with a Socket.IO server."""
    broadcasts = _assigned(module, {"broadcaster.Broadcast"})
    servers = _assigned(module, {"socketio.AsyncServer", "socketio.Server"})
    for node in module.nodes:
        if module.called(node) == "broadcaster.Broadcast" and isinstance(node, ast.Call):
            urls = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "url")]
            scheme = (text(urls[0]) or "").partition("://")[0] if urls else ""
            if scheme in _names_others.SCHEMES:
                advice = _names_others.SCHEMES[scheme]
                yield module.finding(node, "broadcaster", f"Broadcast({scheme}://…)", advice)
        if isinstance(node, ast.Call):
            yield from _arguments(module, node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            for known, kind, calls in (
                (broadcasts, "broadcaster", _names_others.BROADCAST_CALLS),
                (servers, "python-socketio", _names_others.SOCKET_CALLS),
            ):
                if owner in known and node.attr in calls:
                    what = f"{owner}.{node.attr}"
                    yield module.finding(node, kind, what, calls[node.attr])


def _arguments(module: Module, node: ast.Call) -> Iterator[Finding]:
    """What 1.x took, and 2.0 takes otherwise."""
    called, keywords = module.called(node), {each.arg for each in node.keywords}
    page = f"{FROM_1X}#behaviour"
    if called == "fast_channels.middleware.OriginValidator" and "application" in keywords:
        advice = Advice("call it app, or give it by position", page)
        yield module.finding(node, "fast-channels-1.x", "OriginValidator(application=…)", advice)
    elif called == "fast_channels.testing.HttpCommunicator":
        second = text(node.args[1]) if len(node.args) > 1 else None
        if second is not None and second.startswith("/"):
            advice = Advice("the method comes before the path, and has no default", page)
            what = "HttpCommunicator(application, path)"
            yield module.finding(node, "fast-channels-1.x", what, advice)


def _assigned(module: Module, classes: set[str]) -> set[str]:
    """The names that an instance of one of these classes is assigned to, in the whole file."""
    names: set[str] = set()
    for node in module.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if module.called(node.value) in classes:
                names.update(each.id for each in targets if isinstance(each, ast.Name))
    return names
