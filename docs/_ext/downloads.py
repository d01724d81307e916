"""Folders of the repository that readers of the site take along.

Each is `downloads/NAME.zip`, to be unpacked as a folder, and `downloads/NAME/` with its files.
"""

import io
import posixpath
import shutil
import zipfile
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).parents[2]


def archive_of(folder: Path) -> bytes:
    """The files of `folder`; the same files are the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder.parent).as_posix()
            entry = zipfile.ZipInfo(name)  # with the date that such an entry has by default
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def link_to_download(app: Sphinx, docname: str, target: str) -> nodes.reference | None:
    """The link that stands for one to such a folder, or to a file of it."""
    for folder, name in app.config.downloads.items():
        if target == folder:
            path = f"downloads/{name}.zip"
        elif target.startswith(f"{folder}/"):
            path = f"downloads/{name}{target.removeprefix(folder)}"
        else:
            continue
        uri = posixpath.relpath(path, posixpath.dirname(docname) or ".")
        return nodes.reference("", "", internal=False, refuri=uri)
    return None


def write_downloads(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    target = Path(app.outdir) / "downloads"
    shutil.rmtree(target, ignore_errors=True)
    for folder, name in app.config.downloads.items():
        shutil.copytree(ROOT / folder, target / name)
        (target / f"{name}.zip").write_bytes(archive_of(ROOT / folder))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_config_value("downloads", {}, "env", dict)
    app.connect("build-finished", write_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
