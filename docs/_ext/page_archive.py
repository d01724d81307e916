"""`downloads/page.zip`: the tutorial's page, as readers unpack it, in the folder `static/`."""

import io
import os
import posixpath
import zipfile
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[2]
ARCHIVE = "downloads/page.zip"


def archive_of(folder: Path) -> bytes:
    """The files of `folder`; the same files are the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = posixpath.join("static", path.relative_to(folder).as_posix())
            entry = zipfile.ZipInfo(name)  # with the date that such an entry has by default
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def link_to_archive(app: Sphinx, docname: str, target: str) -> nodes.reference | None:
    """The link that stands for one to the archive's folder."""
    if target.rstrip("/") != app.config.page_archive_folder:
        return None
    uri = posixpath.relpath(ARCHIVE, posixpath.dirname(docname) or ".")
    return nodes.reference("", "", internal=False, refuri=uri)


def write_archive(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / ARCHIVE
    os.makedirs(target.parent, exist_ok=True)
    target.write_bytes(archive_of(ROOT / app.config.page_archive_folder))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_config_value("page_archive_folder", "", "env", str)
    app.connect("build-finished", write_archive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
