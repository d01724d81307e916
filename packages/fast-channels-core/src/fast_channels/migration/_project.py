"""All files that are looked at, and which of their classes are consumers."""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fast_channels.migration._module import Module, literal_type

_BASES: Final = {
    "channels.generic.websocket.WebsocketConsumer": "sync",
    "channels.generic.websocket.JsonWebsocketConsumer": "sync",
    "channels.consumer.SyncConsumer": "sync",
    "channels.generic.websocket.AsyncWebsocketConsumer": "async",
    "channels.generic.websocket.AsyncJsonWebsocketConsumer": "async",
    "channels.generic.http.AsyncHttpConsumer": "async",
    "channels.consumer.AsyncConsumer": "async",
    "fast_channels.consumer.AsyncConsumer": "ours",
    "fast_channels.consumer.AsyncHttpConsumer": "ours",
    "fast_channels.consumer.AsyncWebsocketConsumer": "ours",
    "fast_channels.consumer.AsyncJsonWebsocketConsumer": "ours",
    "fast_channels.consumer.base.AsyncConsumer": "ours",
    "fast_channels.consumer.http.AsyncHttpConsumer": "ours",
    "fast_channels.consumer.websocket.AsyncWebsocketConsumer": "ours",
    "fast_channels.consumer.websocket.AsyncJsonWebsocketConsumer": "ours",
}


@dataclass(frozen=True)
class Consumer:
    """A class that derives from a consumer class, in whichever file."""

    family: str
    """``"sync"`` and ``"async"``: of Django Channels; ``"ours"``: of any Fast Channels."""

    kind: str
    """``"websocket"``, ``"http"`` or ``""``, for the base of both."""

    ancestors: tuple[ast.ClassDef, ...]
    """The class and those of the project that it derives from."""


class Project:
    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules: Mapping[Path, Module] = {each.path.absolute(): each for each in modules}
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.modules:
            named = path.parent if path.name == "__init__.py" else path.with_suffix("")
            self._by_stem.setdefault(named.name, []).append(named)
        self.sent_types: frozenset[str] = frozenset(
            name.replace(".", "_")
            for module in self.modules.values()
            for node in module.nodes
            if (name := literal_type(node)) is not None
        )
        """What the types of all messages that are written out call, whoever they are for."""

    def consumer(self, module: Module, owner: ast.ClassDef) -> Consumer | None:
        """What a class is, if it is a consumer."""
        return self._derived(module, owner, frozenset())

    def _derived(
        self, module: Module, owner: ast.ClassDef, seen: frozenset[ast.ClassDef]
    ) -> Consumer | None:
        if owner in seen:
            return None
        found: Consumer | None = None
        ancestors = [owner]
        for base in owner.bases:
            name = module.full_name(base)
            if name in _BASES:
                found = found or Consumer(_BASES[name], _kind_of(name), ())
            elif place := self._find(module, base, name):
                consumer = self._derived(*place, seen | {owner})
                found = found or consumer
                ancestors += consumer.ancestors if consumer else (place[1],)
        return found and Consumer(found.family, found.kind, tuple(ancestors))

    def _find(
        self, module: Module, base: ast.expr, name: str | None
    ) -> tuple[Module, ast.ClassDef] | None:
        """A base class in one of the files."""
        if name is None:
            here = module.classes.get(base.id) if isinstance(base, ast.Name) else None
            return None if here is None else (module, here)
        source, _, class_name = name.rpartition(".")
        other = self._module(module, source)
        there = None if other is None else other.classes.get(class_name)
        return None if other is None or there is None else (other, there)

    def _module(self, importer: Module, source: str) -> Module | None:
        parts = source.lstrip(".").split(".")
        level = len(source) - len(source.lstrip("."))
        if level:
            folder = importer.path.absolute().parents[level - 1 : level]
            return self._at(folder[0].joinpath(*parts)) if folder else None
        # Where the import path begins is not known; so it has to be the only one.
        namesakes = self._by_stem.get(parts[-1], ())
        candidates = [path for path in namesakes if path.parts[-len(parts) :] == (*parts,)]
        return self._at(candidates[0]) if len(candidates) == 1 else None

    def _at(self, path: Path) -> Module | None:
        return self.modules.get(path / "__init__.py") or self.modules.get(path.with_suffix(".py"))


def _kind_of(name: str) -> str:
    class_name = name.rpartition(".")[2]
    return next((kind for kind in ("websocket", "http") if kind in class_name.lower()), "")
