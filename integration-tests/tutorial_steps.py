"""What the tutorial tells its readers to do, step by step, as its Markdown has it.

- A ``python`` block whose first line is ``# name.py`` is that file, whole.
- A ``diff`` block whose first line is ``# name.py`` changes that file. A line ``…`` stands for
  what is left out between two places; what is around each of them occurs once in the file.
- An ``sh`` block holds commands. A ``text`` block that comes next is what the last of them prints:
  these lines in this order, with ``…`` for anything.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\w+\.\w+)\n")

Files: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class WholeFile:
    """Write this file."""

    name: str
    text: str


@dataclass(frozen=True)
class Change:
    """Change this file: each pair is what is there, once, and what is there afterwards."""

    name: str
    places: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Commands:
    """Type these lines; ``output`` is what the text says of it."""

    text: str
    output: str | None = None


Step: TypeAlias = WholeFile | Change | Commands


class TextError(Exception):
    """A step cannot be taken as the text has it."""


def steps_of(markdown: str) -> list[Step]:
    """The steps of one chapter."""
    steps: list[Step] = []
    before = ""
    for kind, block in _BLOCK.findall(markdown):
        match kind:
            case "python":
                name = _name(block)
                steps.append(WholeFile(name, block.split("\n", 1)[1]))
            case "diff":
                steps.append(Change(_name(block), _places(block.split("\n", 1)[1])))
            case "sh":
                steps.append(Commands(block))
            case "text" if before == "sh":
                last = steps.pop()
                assert isinstance(last, Commands)
                steps.append(Commands(last.text, block))
            case _:
                pass  # for reading only
        before = kind
    return steps


def files_after(steps: Sequence[Step], files: Files) -> dict[str, str]:
    """The files that a reader has after these steps; commands are not run."""
    result = dict(files)
    for step in steps:
        if isinstance(step, WholeFile):
            result[step.name] = step.text
        elif isinstance(step, Change):
            result[step.name] = _changed(step, result)
    return result


def chapters(folder: Path) -> list[str]:
    """The names of the chapters, in the order in which the index page lists them."""
    index = (folder / "index.md").read_text()
    return re.findall(r"^\d+\. \[[^\]]+\]\((\w[\w-]*)\.md\)", index, re.MULTILINE)


def _name(block: str) -> str:
    named = _NAME.match(block)
    if named is None:
        raise TextError(f"this block does not begin with the name of its file:\n{block}")
    return named[1]


def _places(diff: str) -> list[tuple[str, str]]:
    places: list[tuple[str, str]] = []
    for hunk in re.split(r"^ ?…\n", diff, flags=re.MULTILINE):
        old: list[str] = []
        new: list[str] = []
        for line in hunk.splitlines(keepends=True):
            sign, text = (line[0], line[1:]) if line.strip() else (" ", "\n")
            if sign not in " +-":
                raise TextError(f"expected ' ', '+' or '-' at the start of this line: {line!r}")
            if sign != "+":
                old.append(text)
            if sign != "-":
                new.append(text)
        places.append(("".join(old), "".join(new)))
    return places


def _changed(change: Change, files: Files) -> str:
    text = files.get(change.name)
    if text is None:
        raise TextError(f"{change.name} is to be changed, and does not exist")
    for old, new in change.places:
        # Whole lines: the file as it is begins with one, and every other follows a line's end.
        found = f"\n{text}".count(f"\n{old}") if old else 0
        if found != 1:
            raise TextError(f"{change.name} has {found} places, expected one, with:\n{old}")
        text = f"\n{text}".replace(f"\n{old}", f"\n{new}", 1)[1:]
    return text
