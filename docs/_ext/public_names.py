"""The public names of the packages: all of them are in the reference, and references find them.

Docstrings name what they speak of as an application does, `AsyncConsumer.on_drain` for example, and
annotations name a class as its own module does. Both lead to the place in the reference.
"""

import ast
import builtins
import collections.abc
import contextlib
import importlib
import inspect
import pkgutil
import sys
import textwrap
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

PACKAGES: Final = ("fast_channels", "fast_channels_redis", "fast_channels_testing")
PLUGIN: Final = "fast_channels_testing.pytest_plugin"
"""It has no `__all__`: its public names are its fixtures."""

_WITHOUT_MODULE: Final = (builtins, typing, collections.abc, contextlib)
"""Where annotations have names from that they do not qualify."""

logger = logging.getLogger(__name__)


@cache
def public_modules() -> tuple[str, ...]:
    found: list[str] = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        inner = pkgutil.walk_packages(module.__path__, f"{package}.")
        found += [package, *(each.name for each in inner)]
    return tuple(
        name for name in found if not any(part.startswith("_") for part in name.split("."))
    )


@cache
def public_names() -> dict[str, object]:
    """By every path under which it can be imported from a public module."""
    found: dict[str, object] = {}
    for name in public_modules():
        module = importlib.import_module(name)
        found |= {
            f"{name}.{each}": getattr(module, each) for each in getattr(module, "__all__", ())
        }
    return found | dict(fixtures())


def fixtures() -> list[tuple[str, Any]]:
    """Those of the plugin, without what is private to it."""
    members = vars(importlib.import_module(PLUGIN)).items()
    return [
        (name, value)
        for name, value in members
        if type(value).__name__ == "FixtureFunctionDefinition" and not name.startswith("_")
    ]


@cache
def public_classes() -> frozenset[type]:
    return frozenset(value for value in public_names().values() if isinstance(value, type))


@cache
def public_members(cls: type) -> tuple[str, ...]:
    """What is to be documented of a class: its own names and those of its private bases."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        if base is not cls and is_documented_elsewhere(base):
            continue
        for name in (*vars(base), *inspect.get_annotations(base)):
            value = inspect.getattr_static(base, name, None)
            if not name.startswith(("_", "test_")) and not takes_private(value):
                found[name] = None
    return tuple(found)


def is_documented_elsewhere(base: type) -> bool:
    """Whether its members need not be repeated where they are inherited."""
    return base in public_classes() or not is_ours(base.__module__)


def is_ours(name: str) -> bool:
    return name.split(".")[0] in PACKAGES


def takes_private(function: Any) -> bool:
    """Whether a parameter is of a private class: then it is not for applications to call."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    tree = definition_of(function)
    return tree is not None and any(
        is_private_class(value_of(node.id, function))
        for argument in ast.walk(tree.args)
        if isinstance(argument, ast.arg) and argument.annotation is not None
        for node in ast.walk(plain(argument.annotation))
        if isinstance(node, ast.Name)
    )


def is_private_class(value: object) -> bool:
    return (
        isinstance(value, type)
        and is_ours(value.__module__)
        and value not in public_classes()
        and not typing.is_typeddict(value)  # which stands for the options in it
    )


def definition_of(function: object) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    if not inspect.isfunction(function) or not is_ours(function.__module__):
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, SyntaxError):
        return None
    return tree if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) else None


def plain(annotation: ast.expr) -> ast.expr:
    """Without its quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def value_of(name: str, function: Any) -> object:
    """What a name in an annotation means; it may be imported for type checkers only."""
    if name in function.__globals__:
        return function.__globals__[name]
    return _globals_of_all().get(name)


def _globals_of_all() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if is_ours(name):
            found |= vars(module)
    return found


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every public name that is nowhere in the reference."""
    documented = env.domains.python_domain.objects
    paths: dict[tuple[int, str], set[str]] = {}
    for path, value in public_names().items():
        paths.setdefault((id(value), path.rpartition(".")[2]), set()).add(path)
    for same in paths.values():
        home = next((path for path in sorted(same) if path in documented), None)
        if home is None:
            logger.warning("not in the reference: %s", " or ".join(sorted(same)))
            continue
        value = public_names()[home]
        for member in public_members(value) if isinstance(value, type) else ():
            if f"{home}.{member}" not in documented:
                logger.warning("not in the reference: %s.%s", home, member)


def skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    # The tests of the conformance suite are for whoever reads a report of it.
    return True if name.startswith("test_") or takes_private(obj) else None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: nodes.TextElement
) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"].removeprefix("~")
    objects = env.domains.python_domain.objects
    found = [name for name in _candidates(node, target) if name in objects][:1] or [
        name for name, entry in objects.items() if name.endswith(f".{target}") and not entry.aliased
    ]
    if len(found) == 1:
        entry = objects[found[0]]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found[0]
        )
    if node["reftype"] == "obj":
        return contnode  # single backticks, which may be around any code
    if found:
        logger.warning("%s may be any of %s", target, ", ".join(sorted(found)), location=node)
        return contnode
    return contnode if _is_foreign(target) or _is_of_an_annotation(node, target) else None


def _candidates(node: addnodes.pending_xref, target: str) -> Iterator[str]:
    names = public_names()
    # A member, named in the docstring of a class that inherits it.
    cls = names.get(f"{node.get('py:module')}.{node.get('py:class')}")
    for base in cls.__mro__[1:] if isinstance(cls, type) else ():
        yield from (f"{path}.{target}" for path, value in names.items() if value is base)
    # Something by the module that it is defined in, which may be private.
    module, _, last = target.rpartition(".")
    for path, value in names.items():
        if path.endswith(f".{last}") and getattr(value, "__module__", None) == module:
            yield path


def _is_foreign(name: str) -> bool:
    """Whether it is of Python's library, or of a package that is not ours; no link, no warning."""
    first, _, rest = name.partition(".")
    if not rest and any(hasattr(each, first) for each in _WITHOUT_MODULE):
        return True
    return not is_ours(first) and first in sys.modules and _has(sys.modules[first], rest)


def _is_of_an_annotation(node: nodes.Element, target: str) -> bool:
    """Whether it is a type variable, say, or what a module of ours has imported."""
    while node.parent is not None and not isinstance(node, addnodes.desc_signature):
        node = node.parent
    if not isinstance(node, addnodes.desc_signature) and not is_ours(target):
        return False  # Only autodoc has whole paths, also where it says what an alias is of.
    try:
        value = pkgutil.resolve_name(target) if "." in target else _globals_of_all()[target]
    except (AttributeError, ImportError, KeyError, ValueError):
        return False
    return not is_private_class(value)


def _has(value: object, path: str) -> bool:
    for part in path.split(".") if path else ():
        value = getattr(value, part, None)
    return value is not None


def setup(app: Sphinx) -> ExtensionMetadata:
    for cls in public_classes():
        public_members(cls)  # autodoc adds to the annotations of classes
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", resolve)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
