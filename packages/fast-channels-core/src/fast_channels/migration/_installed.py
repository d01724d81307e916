"""What is installed: leftovers of 1.x, and what it took with it."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from typing import Any, Final

from fast_channels.migration._finding import FROM_1X, Finding

_CORE: Final = "fast-channels-core"
_PACKAGE: Final = "fast_channels"
_PAGE: Final = f"{FROM_1X}#uninstall-first"
_ALL: Final = "fast-channels fast-channels-core fast-channels-redis fast-channels-testing"
_TODO: Final = f"pip uninstall -y {_ALL}, delete what is left of the folder {{}}, and install again"


def find_installed(search_path: Iterable[str] | None = None) -> list[Finding]:
    """What is wrong with the installed distributions; by default with those of this process."""
    found: list[Distribution] = list(
        distributions() if search_path is None else distributions(path=list(search_path))
    )
    by_name = {_normal(str(each.metadata["Name"])): each for each in reversed(found)}
    core = by_name.get(_CORE)
    if core is None or _is_editable(core):
        return []
    folder = Path(str(core.locate_file(_PACKAGE)))
    todo = _TODO.format(folder)
    findings: list[Finding] = []
    old = by_name.get("fast-channels")
    if old is not None and old.version.partition(".")[0] in ("0", "1"):
        what = f"fast-channels {old.version} is installed beside {_CORE} {core.version}"
        findings.append(_finding(folder, f"{what}: both have files of the same names", todo))
    missing = sorted(path for path in _files_of([core]) if not path.exists())
    if missing:
        what = f"files of {_CORE} {core.version} are missing: {_some(missing, folder)}"
        findings.append(_finding(folder, what, todo))
    known = _files_of(found)
    strangers = sorted(
        path for path in folder.rglob("*.py") if path not in known and path.is_file()
    )
    if strangers:
        what = f"files that belong to no installed distribution: {_some(strangers, folder)}"
        findings.append(_finding(folder, what, todo))
    return findings


def _files_of(owners: Iterable[Distribution]) -> set[Path]:
    """The files that they have put into the folder of the package."""
    return {
        Path(str(owner.locate_file(file)))
        for owner in owners
        for file in _recorded(owner)
        if file.parts[:1] == (_PACKAGE,) and file.suffix == ".py"
    }


def _recorded(owner: Distribution) -> Iterator[PurePosixPath]:
    """What was installed. `files` will not do: from Python 3.12 on it leaves out what is gone."""
    record = owner.read_text("RECORD")
    if record is None:  # by an installer from before wheels
        yield from owner.files or ()
        return
    for row in csv.reader(record.splitlines()):
        if row:
            yield PurePosixPath(row[0])


def _is_editable(distribution: Distribution) -> bool:
    """Whether its files are somewhere else, and none of them is in its list."""
    try:
        origin: Any = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError):
        return False


def _some(paths: list[Path], folder: Path) -> str:
    names = [path.relative_to(folder).as_posix() for path in paths]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _finding(folder: Path, what: str, todo: str) -> Finding:
    return Finding(str(folder), 0, 0, "installed", what, todo, _PAGE, True)
