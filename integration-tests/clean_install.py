"""Our packages as a user gets them: as wheels, in an environment that has nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def build_wheels(target: Path) -> Path:
    """Build all distributions of this tree into ``target``."""
    packages = sorted(map(str, (ROOT / "packages").iterdir()))
    # What builds them is among the requirements of these tests: isolated, each would install it.
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", *options, "-w", str(target), *packages],
        check=True,
        timeout=300,
    )
    return target
