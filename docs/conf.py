"""The documentation site: `nox -s docs` builds it into build/docs/, and takes no warning.

Pages link to each other and to files of the repository with relative Markdown links, which work
where the files are read as they are, too; see `_ext/repository_links.py`. What lies outside docs/
is not part of the site, with one exception: a link to the folder `examples/tutorial/static`
becomes a link to the archive of it, `downloads/page.zip`::

    Unpack [page.zip](../../examples/tutorial/static) next to `main.py`.
"""

import logging
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).with_name("_ext")))

project = "Fast Channels"
project_copyright = "Fast Channels contributors"
html_title = "Fast Channels"

extensions = ["myst_parser", "page_archive", "repository_links"]
exclude_patterns = ["_ext"]

myst_heading_anchors = 4

page_archive_folder = "examples/tutorial/static"

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False

# Folders whose pages are still to come.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: "toctree glob pattern" not in str(record.msg)
)
