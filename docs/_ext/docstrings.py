"""What is made of docstrings, which are written to be read in the source."""

import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from docutils import nodes
from public_names import is_documented_elsewhere
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_TERM: Final = re.compile(r"(?:^|(?<=[.:] ))(?=``\w+``(?:, ``\w+``)*: )")
"""Where a parameter is begun to be explained: "``expiry``: seconds." """


def add_constructor(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """The docstring of the private base which a class has its constructor from: on its options."""
    if what != "class" or "__init__" in vars(obj):
        return
    for base in obj.__mro__[1:]:
        if is_documented_elsewhere(base):
            return
        if "__init__" in vars(base):
            lines += ["", *(inspect.getdoc(base) or "").splitlines(), ""]
            return


def list_terms(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a list of paragraphs that explain several parameters."""
    paragraphs = [list(group) for _, group in groupby(lines, key=lambda line: line == "")]
    lines[:] = [line for paragraph in paragraphs for line in _with_terms(paragraph)]


def _with_terms(paragraph: list[str]) -> Iterator[str]:
    is_plain = not any(line.startswith((" ", "- ", "..", "==")) for line in paragraph)
    first, *terms = _TERM.split(" ".join(paragraph)) if is_plain else ("",)
    if len(terms) < 2:
        yield from paragraph
        return
    if first:
        yield from (first.strip(), "")
    yield from (f"- {term.strip()}" for term in terms)


def show_bases(app: Sphinx, name: str, obj: type, options: Any, bases: list[Any]) -> None:
    """Public bases only: in the place of a private one those that it derives from."""
    public: list[type] = []
    waiting = list(obj.__bases__)
    while waiting:
        base = waiting.pop(0)
        if not is_documented_elsewhere(base):
            waiting[:0] = base.__bases__
        elif base is not object and base not in public:
            public.append(base)
    bases[:] = [
        base
        for base in public
        if not any(base is not other and issubclass(other, base) for other in public)
    ]


def hide_no_bases(app: Sphinx, doctree: nodes.document) -> None:
    """autodoc begins the line before it asks which they are."""
    for content in doctree.findall(addnodes.desc_content):
        for child in list(content.children):
            if isinstance(child, nodes.paragraph) and child.astext() == "Bases:":
                content.remove(child)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("autodoc-process-docstring", add_constructor)
    app.connect("autodoc-process-docstring", list_terms)
    app.connect("autodoc-process-bases", show_bases)
    app.connect("doctree-read", hide_no_bases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
