"""Check a release tag against the tree: `release_tag.py fast-channels-redis-v2.0.0`.

Prints what the release workflow needs as `name=value` lines. Fails if there is no such package,
if its version is another one, or if its changelog has no dated section for that version.
"""

import re
import sys
import tomllib
from pathlib import Path

PACKAGES = Path(__file__).parents[1] / "packages"


def main(tag: str) -> int:
    match = re.fullmatch(r"(?P<package>fast-channels(?:-[a-z]+)?)-v(?P<version>\d[\w.]*)", tag)
    if match is None:
        sys.exit(f"expected a tag like fast-channels-redis-v2.0.0, got {tag!r}")
    package, version = match["package"], match["version"]
    pyproject = PACKAGES / package / "pyproject.toml"
    if not pyproject.is_file():
        sys.exit(f"the tag {tag!r} names no folder of packages/")
    actual = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"]
    if actual != version:
        sys.exit(f"the tag {tag!r} says {version}, {package}/pyproject.toml says {actual}")
    changelog = (PACKAGES / package / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
    if not re.search(heading, changelog, re.MULTILINE):
        sys.exit(f"{package}/CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'")
    print(f"package={package}")
    print(f"version={version}")
    print(f"file_prefix={package.replace('-', '_')}-{version}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
