"""Links from pages to files of the repository that are not pages.

Where the packages name their repository they lead there. Otherwise the reader gets the path.
"""

import posixpath
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from downloads import link_to_download
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[2]
METADATA = ROOT / "packages" / "fast-channels" / "pyproject.toml"

logger = logging.getLogger(__name__)


def repository() -> str | None:
    """The address of the repository, where the metadata has one."""
    urls = tomllib.loads(METADATA.read_text(encoding="utf-8"))["project"].get("urls", {})
    address = next((urls[name] for name in ("Repository", "Source") if name in urls), None)
    return address and address.rstrip("/")


class RepositoryLinks(SphinxTransform):
    default_priority = 5  # before Sphinx looks for pages and downloads

    def apply(self, **kwargs: Any) -> None:
        kinds = (addnodes.pending_xref, addnodes.download_reference)
        for node in [node for kind in kinds for node in self.document.findall(kind)]:
            if node.get("reftype") == "myst" and (target := self._outside(node)) is not None:
                node.replace_self(self._replacement(node, target))

    def _outside(self, node: nodes.Element) -> str | None:
        """The path in the repository, if it is not below docs/."""
        target = node["reftarget"].partition("#")[0]
        # MyST has made the name of a page from what ends like one.
        folder = "docs" if node.get("refdomain") == "doc" else f"docs/{self._folder}"
        path = posixpath.normpath(posixpath.join(folder, target))
        if posixpath.isabs(path):  # a file that ends like a page, and is outside of docs/
            path = posixpath.relpath(path, ROOT.as_posix())
        if not target or path.startswith("docs/"):
            return None
        if not (ROOT / path).exists():
            path += ".md"
        if path.startswith("..") or not (ROOT / path).exists():
            logger.warning("no such file: %s", target, location=node)
        return path

    @property
    def _folder(self) -> str:
        return posixpath.dirname(self.env.docname)

    def _replacement(self, node: nodes.Element, target: str) -> list[nodes.Node]:
        text = node.children[0].children if node.children else [nodes.Text(target)]
        link = link_to_download(self.app, self.env.docname, target)
        if link is None and (address := repository()) is not None:
            link = nodes.reference("", "", internal=False, refuri=f"{address}/blob/HEAD/{target}")
        if link is not None:
            link.extend(text)
            return [link]
        path = nodes.literal(target, target)
        if nodes.Element("", *text).astext() in target:  # it is the path, or its end
            return [path]
        return [*text, nodes.Text(" ("), path, nodes.Text(")")]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
