"""The documentation site: `nox -s docs` builds it into build/docs/, and takes no warning.

Pages link to each other and to files of the repository with relative Markdown links, which work
where the files are read as they are, too; see `_ext/repository_links.py`. What lies outside docs/
is not part of the site, but for `downloads` below: links to these folders become links to archives
of them, and links to their files lead to copies::

    Unpack [page.zip](../../examples/tutorial/static) next to `main.py`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).with_name("_ext")))

from public_names import is_documented_elsewhere, public_classes  # noqa: E402  # found in _ext

project = "Fast Channels"
project_copyright = "Fast Channels contributors"
html_title = "Fast Channels"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "docstrings",
    "downloads",
    "exception_tree",
    "public_names",
    "pytest_fixtures",
    "references",
    "repository_links",
    "signatures",
]
exclude_patterns = ["_ext", "_static"]

myst_heading_anchors = 4

# Some docstrings have single backticks around code.
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_default_options = {
    "show-inheritance": True,
    # What a class has of a base that is documented, or of Python's, is said there.
    "inherited-members": ",".join(
        sorted(
            {
                base.__name__
                for cls in public_classes()
                for base in cls.__mro__
                if is_documented_elsewhere(base)
            }
        )
    ),
}
python_maximum_signature_line_length = 110
toc_object_entries_show_parents = "hide"

downloads = {"examples/deploy": "deploy", "examples/tutorial/static": "page"}

html_theme = "furo"
# The counterpart of the light one; the theme's own underlines names as if they were links.
pygments_dark_style = "a11y-high-contrast-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
