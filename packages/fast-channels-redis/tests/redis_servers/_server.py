"""A data server."""

import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote

from ._binaries import Binary
from ._client import Argument
from ._process import ServerProcess, free_port
from ._tls import Certificates


class Options(TypedDict, total=False):
    """How a server is to be started. Without any it keeps nothing and asks for no password."""

    appendonly: bool
    """Keep an append-only file, which survives :meth:`RedisServer.kill`."""
    password: str
    """Of the user ``default``."""
    users: Mapping[str, str]
    """More users and their ACL rules, such as ``{"app": "on >secret ~* &* +@all"}``."""
    unix_socket: bool
    """Listen at :attr:`RedisServer.unix_path`, too."""
    tls: Certificates
    """Speak TLS at :attr:`RedisServer.tls_port`, too, which not every program can."""
    config: Mapping[str, object]
    """Any other lines of the configuration, such as ``{"maxclients": 20}``."""


class RedisServer(ServerProcess):
    """A process of its own on a free port of the loopback interface."""

    def __init__(self, binary: Binary, **options: Unpack[Options]) -> None:
        super().__init__(binary, password=options.get("password"))
        self._options = options
        self._own_calls = Counter[str]()
        self.tls_port = free_port() if "tls" in options else None

    def directives(self) -> Iterable[str]:
        yield from super().directives()
        yield 'save ""'
        yield "repl-diskless-sync-delay 0"
        if self.binary.version >= (7,):
            yield "enable-debug-command local"  # before, it was always enabled
        if self._options.get("appendonly"):
            yield "appendonly yes"
            # While a disk is slow to sync, writing to the file would wait, and replies would not.
            yield "appendfsync no"
        if self._options.get("unix_socket"):
            yield f"unixsocket {self.unix_path}"
        if tls := self._options.get("tls"):
            yield f"tls-port {self.tls_port}"
            yield f"tls-cert-file {tls.server}"
            yield f"tls-key-file {tls.server_key}"
            yield f"tls-ca-cert-file {tls.authority}"
            yield "tls-auth-clients optional"
        for name, rules in self._options.get("users", {}).items():
            yield f"user {name} {rules}"
        for key, value in self._options.get("config", {}).items():
            yield f"{key} {value}"

    @property
    def url(self) -> str:
        return self.url_for(None, self.password)

    def url_for(self, user: str | None, password: str | None) -> str:
        return f"redis://{_login(user, password)}{self.host}:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"rediss://{_login(None, self.password)}{self.host}:{self.tls_port}"

    @property
    def unix_path(self) -> str:
        return str(self.folder / "server.sock")

    @property
    def unix_url(self) -> str:
        return f"unix://{_login(None, self.password)}{self.unix_path}"

    def execute(self, *command: Argument) -> Any:
        self._own_calls[str(command[0]).lower()] += 1
        self._own_calls["auth"] += self.password is not None
        return super().execute(*command)

    def start(self) -> Self:
        super().start()
        self.reset_counts()
        return self

    def restart(self, *, keep_data: bool = True) -> Self:
        """Start again on the same port, after a kill unless it has ended already.

        Only an append-only file and what :meth:`save` wrote can be kept.
        """
        self.kill()
        if not keep_data:
            self._remove_data()
        return self.start()

    def save(self) -> None:
        """Write what the next start reads, unless there is an append-only file."""
        self.execute("SAVE")

    def _remove_data(self) -> None:
        for pattern in ("*.rdb", "*.aof", "appendonlydir"):
            for path in self.folder.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def info(self, section: str) -> dict[str, str]:
        """A section of INFO."""
        return _fields(self.execute("INFO", section))

    def info_of_cluster(self) -> dict[str, str]:
        """CLUSTER INFO, which INFO lacks."""
        return _fields(self.execute("CLUSTER", "INFO"))

    def reset_counts(self) -> None:
        """Let :meth:`command_counts` begin at zero."""
        self.execute("CONFIG", "RESETSTAT")
        self._own_calls = Counter({"config": 1})  # which counts itself, after it has reset all

    def command_counts(self) -> Counter[str]:
        """How often each command was called since the start, but for what :meth:`execute` called.

        Names are in lower case; subcommands count for their command, as Redis 6.2 has them.
        """
        counts = Counter({"info": 1})  # this one, which the server counts when it has replied
        for key, value in self.info("commandstats").items():
            fields = dict(field.split("=", 1) for field in value.split(","))
            counts[key.removeprefix("cmdstat_").partition("|")[0]] += int(fields["calls"])
        return counts - self._own_calls

    @contextmanager
    def counting(self) -> Generator[Counter[str]]:
        """Counts the commands that are called in the block; filled in when it ends."""
        counts = Counter[str]()
        before = self.command_counts()
        yield counts
        counts.update(self.command_counts() - before)


def _login(user: str | None, password: str | None) -> str:
    return "" if password is None else f"{user or ''}:{quote(password, safe='')}@"


def _fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
