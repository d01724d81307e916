"""The fixtures of the pytest plugin, made from it."""

import inspect
import re
from typing import Any

from docutils import nodes
from public_names import fixtures
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


class PytestFixtures(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        lines = [".. py:currentmodule:: None", ""]
        for name, fixture in fixtures():
            function = inspect.unwrap(fixture)
            lines += [f".. py:data:: {name}", f"   :type: {_given(function)}", ""]
            lines += [f"   {line}" for line in (inspect.getdoc(function) or "").splitlines()]
            lines.append("")
        return self.parse_text_to_nodes("\n".join(lines))


def _given(function: Any) -> str:
    """What a test gets: what the function returns, or yields."""
    annotation: str = function.__annotations__["return"]
    return re.sub(r"^Iterator\[(.*)\]$", r"\1", annotation)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("pytest-fixtures", PytestFixtures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
