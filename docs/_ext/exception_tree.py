"""The tree of exceptions, made from the classes."""

import inspect

from docutils import nodes
from public_names import is_ours, public_classes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


def exceptions() -> list[type[BaseException]]:
    return [each for each in public_classes() if issubclass(each, BaseException)]


def parent_of(cls: type) -> type | None:
    """The class of ours that it derives from."""
    return next((base for base in cls.__bases__ if base in public_classes()), None)


class ExceptionTree(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [self._below(None)]

    def _below(self, parent: type | None) -> nodes.bullet_list:
        children = [each for each in exceptions() if parent_of(each) is parent]
        items: list[nodes.list_item] = []
        for cls in sorted(children, key=_place):
            text = nodes.paragraph("", "", self._link(cls))
            built_in = [base.__name__ for base in cls.__bases__ if not is_ours(base.__module__)]
            if built_in or parent is None:
                text += [nodes.Text(" ("), *_literals(built_in), nodes.Text(")")]
            item = nodes.list_item("", text)
            if any(parent_of(each) is cls for each in exceptions()):
                item += self._below(cls)
            items.append(item)
        return nodes.bullet_list("", *items)

    def _link(self, cls: type) -> addnodes.pending_xref:
        return addnodes.pending_xref(
            "",
            nodes.literal("", cls.__name__, classes=["xref", "py", "py-exc"]),
            refdomain="py",
            reftype="exc",
            reftarget=cls.__name__,
            refdoc=self.env.docname,
            refwarn=True,
        )


def _place(cls: type) -> tuple[str, int]:
    """In the order of the source."""
    return cls.__module__, inspect.getsourcelines(cls)[1]


def _literals(names: list[str]) -> list[nodes.Node]:
    parts: list[nodes.Node] = []
    for name in names:
        parts += [nodes.Text(", "), nodes.literal("", name)]
    return parts[1:]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("exception-tree", ExceptionTree)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
