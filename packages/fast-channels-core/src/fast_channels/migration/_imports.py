"""Imports and uses of names that have another place now, and of those that have none."""

import ast
from collections.abc import Iterator
from typing import Final

from fast_channels.migration import _names_channels, _names_others
from fast_channels.migration._finding import Advice, Finding
from fast_channels.migration._module import Module, join, source_of, text
from fast_channels.migration._usage import assigned

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
    imported: set[str] = set()
    for node in module.nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = source_of(node) if isinstance(node, ast.ImportFrom) else ""
            for name in node.names:
                imported.add(full := join(source, name.name))
                yield from _known(module, node, full)
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            used = module.full_name(node)
            # What was imported under this very name was reported there.
            if used is not None and used not in imported:
                yield from _known(module, node, used)


def _known(module: Module, node: ast.expr | ast.stmt, name: str) -> Iterator[Finding]:
    found = _KNOWN.get(name)
    if found is None and isinstance(node, ast.ImportFrom):
        # A star, or a name of a module that is gone as a whole.
        name, found = source_of(node), _KNOWN.get(source_of(node))
    if found is not None:
        kind, advice = found
        yield module.finding(node, kind, name, advice)


def find_calls(module: Module) -> Iterator[Finding]:
    """What is done with a ``Broadcast`` and with a Socket.IO server."""
    broadcasts = assigned(module, frozenset({"broadcaster.Broadcast"}))
    servers = assigned(module, frozenset({"socketio.AsyncServer", "socketio.Server"}))
    for node in module.nodes:
        if module.called(node) == "broadcaster.Broadcast" and isinstance(node, ast.Call):
            urls = [*node.args[:1], *(each.value for each in node.keywords if each.arg == "url")]
            scheme = (text(urls[0]) or "").partition("://")[0] if urls else ""
            if scheme in _names_others.SCHEMES:
                advice = _names_others.SCHEMES[scheme]
                yield module.finding(node, "broadcaster", f"Broadcast({scheme}://…)", advice)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            for known, kind, calls in (
                (broadcasts, "broadcaster", _names_others.BROADCAST_CALLS),
                (servers, "python-socketio", _names_others.SOCKET_CALLS),
            ):
                if owner in known and node.attr in calls:
                    what = f"{owner}.{node.attr}"
                    yield module.finding(node, kind, what, calls[node.attr])
