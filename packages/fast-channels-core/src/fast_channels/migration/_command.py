"""From paths to a report."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

from fast_channels.migration._consumers import find_in_consumers, find_tests_for_none
from fast_channels.migration._finding import Finding
from fast_channels.migration._imports import find_calls, find_imports
from fast_channels.migration._installed import find_installed
from fast_channels.migration._layers import find_in_calls, find_in_settings
from fast_channels.migration._module import Module, UnreadableError
from fast_channels.migration._project import Project
from fast_channels.migration._usage import find_usage

_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


class Report(NamedTuple):
    findings: list[Finding]
    unreadable: dict[str, str]
    """Files that could not be looked at, and why."""

    files: int


def check(paths: Iterable[Path]) -> Report:
    """Look at Python files, and at those in folders. Nothing of them is run."""
    modules: list[Module] = []
    unreadable: dict[str, str] = {}
    for path in _python_files(paths):
        try:
            modules.append(Module(path, path.read_bytes()))
        except UnreadableError as error:
            unreadable[str(path)] = str(error)
        except OSError as error:
            unreadable[str(path)] = error.strerror or type(error).__name__
    project = Project(modules)
    findings: set[Finding] = set()
    for module in modules:
        try:
            findings.update(_look_at(module, project))
        except RecursionError:  # expressions that the parser took, and no walk does
            unreadable[str(module.path)] = "nested too deeply"
    return Report(sorted(findings), unreadable, len(modules))


def _look_at(module: Module, project: Project) -> Iterator[Finding]:
    yield from find_imports(module)
    yield from find_calls(module)
    yield from find_in_consumers(module, project)
    yield from find_tests_for_none(module)
    yield from find_in_settings(module)
    yield from find_in_calls(module)
    yield from find_usage(module)


def _python_files(paths: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path) if path.is_dir() else (path,):
            if (where := file.absolute()) not in seen:
                seen.add(where)
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        # Not what was installed or made there.
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED
            and not name.startswith(".")
            and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
        )
        paths = (Path(here, name) for name in sorted(files) if name.endswith(".py"))
        # Files in this sense are pipes, too, which would be waited for.
        yield from (path for path in paths if path.is_file())


def main(arguments: Sequence[str]) -> int:
    """0: nothing has to change; 1: something has to; 2: called wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m fast_channels.migration",
        description="Find what has to change on the way to Fast Channels.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    paths: list[Path] = options.paths
    if missing := [str(path) for path in paths if not path.exists()]:
        parser.error(f"no such file or folder: {', '.join(missing)}")
    report = check(paths)
    report = report._replace(findings=[*find_installed(), *report.findings])
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if callable(reconfigure):
        # Names in the files may have characters that a terminal or a pipe does not.
        reconfigure(errors="backslashreplace")
    sys.stdout.write(f"{_json(report) if options.format == 'json' else _text(report)}\n")
    return 1 if any(each.required for each in report.findings) else 0


def _json(report: Report) -> str:
    return json.dumps(
        {
            "format": 1,
            "files": report.files,
            "findings": [asdict(each) for each in report.findings],
            "unreadable": report.unreadable,
        },
        indent=2,
    )


def _text(report: Report) -> str:
    lines: list[str] = []
    for each in report.findings:
        where = f"{each.path}:{each.line}:{each.column}" if each.line else each.path
        mark = "" if each.required else " (may stay)"
        lines += [f"{where}: {each.what}{mark}", f"    {each.todo}", f"    {each.page}"]
    lines += [f"{path}: not looked at: {why}" for path, why in report.unreadable.items()]
    required = sum(each.required for each in report.findings)
    lines.append(
        f"{report.files} files: {required} to change, "
        f"{len(report.findings) - required} that may stay, {len(report.unreadable)} not looked at"
    )
    return "\n".join(lines)
