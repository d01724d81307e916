"""The public names of the packages, and that all of them are in the reference."""

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
import typing
from functools import cache
from typing import Any, Final

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

PACKAGES: Final = ("fast_channels", "fast_channels_redis", "fast_channels_testing")
PLUGIN: Final = "fast_channels_testing.pytest_plugin"
"""It has no `__all__`: its public names are its fixtures."""

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
    return globals_of_all().get(name)


def globals_of_all() -> dict[str, object]:
    found: dict[str, object] = {}
    for name, module in list(sys.modules.items()):
        if is_ours(name):
            found |= vars(module)
    return found


def check_complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every public name that is nowhere in the reference."""
    for name in public_modules():
        module = importlib.import_module(name)
        if name != PLUGIN and not hasattr(module, "__all__") and _defines_something(module):
            logger.warning("%s does not say by __all__ what is public", name)
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


def _defines_something(module: object) -> bool:
    return any(
        getattr(value, "__module__", None) == getattr(module, "__name__", "")
        for name, value in vars(module).items()
        if not name.startswith("_")
    )


def skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    # The tests of the conformance suite are for whoever reads a report of it.
    return True if name.startswith("test_") or takes_private(obj) else None


def setup(app: Sphinx) -> ExtensionMetadata:
    for cls in public_classes():
        public_members(cls)  # autodoc adds to the annotations of classes
    app.connect("autodoc-skip-member", skip)
    app.connect("env-check-consistency", check_complete)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
