"""Where a suite is, from how it was named."""

import importlib.util
import os
from dataclasses import dataclass
from typing import Self


class UsageError(Exception):
    """A suite that cannot be run; the text says what to do."""


@dataclass(frozen=True)
class Target:
    """One suite to report on."""

    given: str
    path: str
    """Of the file, absolute."""
    name: str
    """Of the class."""

    @classmethod
    def parse(cls, given: str) -> Self:
        where, colon, name = given.replace("::", ":").rpartition(":")
        if not (where and colon and name.isidentifier()):
            raise UsageError(
                f"{given!r} names no suite, expected a module or a file and a class in it: "
                "my_package.tests:TestMyLayer or tests/test_my_layer.py:TestMyLayer"
            )
        return cls(given, _file(where), name)

    @property
    def node(self) -> str:
        """As pytest calls it."""
        return f"{self.path}::{self.name}"


def _file(where: str) -> str:
    if where.endswith(".py"):
        if not os.path.isfile(where):
            raise UsageError(f"there is no file {where!r} in {os.getcwd()!r}")
        return os.path.abspath(where)
    try:
        spec = importlib.util.find_spec(where)
    except Exception as error:  # of a parent package, which is imported for it
        raise UsageError(
            f"a package of {where!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise UsageError(
            f"there is no module {where!r} on Python's path, which begins with {os.getcwd()!r}; "
            "name the file instead: tests/test_my_layer.py:TestMyLayer"
        )
    return os.path.abspath(spec.origin)
