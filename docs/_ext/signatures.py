"""Signatures as the source has them, with the names of public types; autodoc would expand those."""

import ast
import inspect
import re
from typing import Any, Final

from public_names import (
    definition_of,
    plain,
    public_names,
    takes_private,
    value_of,
)
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

_MANAGERS: Final = {
    "contextmanager": "AbstractContextManager",
    "asynccontextmanager": "AbstractAsyncContextManager",
}


class _Annotations(ast.NodeTransformer):
    """Spells out the aliases that are private."""

    def __init__(self, function: object) -> None:
        self._function = function
        self._known = {path.rpartition(".")[2] for path in public_names()}

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return node
        self.generic_visit(node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        inner = plain(node)
        return node if inner is node else self.visit(inner)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = value_of(node.id, self._function)
        if node.id in self._known or isinstance(value, type) or not hasattr(value, "__args__"):
            return node
        text = stringify_annotation(value, "fully-qualified-except-typing")
        return ast.parse(text.replace("collections.abc.", ""), mode="eval").body


class _Defaults(ast.NodeTransformer):
    """Spells out private constants."""

    def __init__(self, function: object) -> None:
        self._function = function

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = value_of(node.id, self._function)
        return ast.Constant(value) if isinstance(value, int | float | str) else node


def signature_of(function: Any, *, bound: bool) -> tuple[str, str | None] | None:
    """The parameters and what is returned; None for what has no source."""
    function = inspect.unwrap(function)
    if (tree := definition_of(function)) is None:
        return None
    annotations = _Annotations(function)
    if bound:
        del (tree.args.posonlyargs or tree.args.args)[0]
    options = tree.args.kwarg
    if options is not None and options.annotation is not None:
        name = ast.unparse(options.annotation).removeprefix("Unpack[").removesuffix("]")
        if name not in {path.rpartition(".")[2] for path in public_names()}:
            options.annotation = None
    for argument in ast.walk(tree.args):
        if isinstance(argument, ast.arg) and argument.annotation is not None:
            argument.annotation = annotations.visit(argument.annotation)
    defaults = _Defaults(function)
    tree.args.defaults = [defaults.visit(each) for each in tree.args.defaults]
    tree.args.kw_defaults = [each and defaults.visit(each) for each in tree.args.kw_defaults]
    returns = ast.unparse(annotations.visit(tree.returns)) if tree.returns else None
    decorators = [ast.unparse(each) for each in tree.decorator_list]
    for name, manager in _MANAGERS.items():
        if returns is not None and name in decorators:
            returns = re.sub(r"^\w+\[(\w+).*\]$", rf"{manager}[\1]", returns)
    return f"({ast.unparse(tree.args)})", returns


def process(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, args: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    if what in ("class", "exception"):
        if takes_private(obj.__init__):
            return "", None
        found = signature_of(obj.__init__, bound=True)
        return found and (found[0], None)
    if what in ("function", "method"):
        path, _, last = name.rpartition(".")
        owner = public_names().get(path)
        is_static = isinstance(inspect.getattr_static(owner, last, None), staticmethod)
        return signature_of(obj, bound=what == "method" and not is_static)
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("autodoc-process-signature", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
