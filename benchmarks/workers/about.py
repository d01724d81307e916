"""What this environment runs."""

import platform
from importlib.metadata import PackageNotFoundError, version

from benchmarks.workers._process import say

_NAMES = (
    "fast-channels-core",
    "fast-channels-redis",
    "fast-channels",
    "redis",
    "hiredis",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
)


def main() -> None:
    versions = {platform.python_implementation(): platform.python_version()}
    for name in _NAMES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            pass
    say(**versions)


if __name__ == "__main__":
    main()
