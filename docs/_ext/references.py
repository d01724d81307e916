"""Where references lead: docstrings name what they speak of as an application does.

`AsyncConsumer.on_drain`, for example; and annotations name a class as its own module does.
"""

import builtins
import collections.abc
import contextlib
import pkgutil
import sys
import typing
from collections.abc import Iterator
from typing import Final

from docutils import nodes
from public_names import globals_of_all, is_ours, is_private_class, public_names
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

_WITHOUT_MODULE: Final = (builtins, typing, collections.abc, contextlib)
"""Where annotations have names from that they do not qualify."""

logger = logging.getLogger(__name__)


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
        value = pkgutil.resolve_name(target) if "." in target else globals_of_all()[target]
    except (AttributeError, ImportError, KeyError, ValueError):
        return False
    return not is_private_class(value)


def _has(value: object, path: str) -> bool:
    for part in path.split(".") if path else ():
        value = getattr(value, part, None)
    return value is not None


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
