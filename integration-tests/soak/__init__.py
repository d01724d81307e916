"""A hundred thousand connections for each layer, ended in every way: what is left of them.

``python -m nox -s soak`` runs it, with the options of ``soak.__main__``.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]

# The tests' helpers are in no package.
sys.path += [
    str(_ROOT / "integration-tests"),
    str(_ROOT / "packages" / "fast-channels-core" / "tests"),
    str(_ROOT / "packages" / "fast-channels-redis" / "tests"),
]
