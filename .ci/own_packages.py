"""Fail if a distribution of ours in this environment came from an index, or if there is none.

What pip and uv install from a folder or a wheel file carries a `direct_url.json` that says so.
"""

import importlib.metadata
import json
import sys


def main() -> int:
    right: list[str] = []
    wrong: list[str] = []
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if not name.startswith("fast-channels"):
            continue
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        from_file = origin.get("url", "").startswith("file:")
        (right if from_file else wrong).append(f"{name} {distribution.version}")
    if wrong:
        print("not from this tree or from dist/:", ", ".join(sorted(wrong)), file=sys.stderr)
    elif not right:
        print("no distribution of ours is installed", file=sys.stderr)
    return 0 if right and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
