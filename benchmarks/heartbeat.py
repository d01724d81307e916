"""Idle WebSockets with a heartbeat: what it costs, and how soon one that is gone is noticed."""

import select
import socket
import statistics
import time
from collections.abc import Iterator
from itertools import count
from typing import Self

from benchmarks.clients import connect, descriptors
from benchmarks.ratios import in_turn
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, ServerProcess, Side

CONNECTIONS = 10_000
GONE = 20
"""Clients that stop answering, one after another."""
SECONDS = 60.0
"""A whole number of intervals."""
INTERVAL, TIMEOUT = 30.0, 10.0
"""As the two workers have them."""
TURNS = 1
_SPARE_DESCRIPTORS = 100
_PAUSE = 0.005
_BATCH = 500
"""Connections that are opened in a row."""

_TEXT = b'{"type":"heartbeat"}'
_QUESTION = b"\x81" + len(_TEXT).to_bytes() + _TEXT
_ANSWER = b"\x81" + (0x80 | len(_TEXT)).to_bytes() + bytes(4) + _TEXT
_hosts = (f"127.0.1.{number}" for number in count(1))
"""Each turn has an address of its own: the ports of the last one are not free yet."""


def run(ours: Side, _reference: Side, cores: Cores) -> Report:
    connections = min(CONNECTIONS, descriptors() - _SPARE_DESCRIPTORS)
    asked: list[float] = []
    late: list[float] = []

    def measure(app: str) -> float:
        with ours.serve(app, cores.measured) as server, _Crowd(server, connections) as crowd:
            before, started = server.cpu_seconds(), time.monotonic()
            crowd.answer_until(started + SECONDS)
            elapsed = time.monotonic() - started
            used = server.cpu_seconds() - before
            if app == "heartbeat":
                asked.append(crowd.answered / connections)
                late.extend(crowd.watch_some_go(GONE))
        return used / elapsed * 100

    samples = in_turn(
        TURNS,
        {
            "without": lambda: measure("handler"),
            "with": lambda: measure("heartbeat"),
            "bare": lambda: measure("heartbeat_bare"),
        },
    )
    without, watched, bare = (
        statistics.median(samples[name]) for name in ("without", "with", "bare")
    )
    return Report(
        "heartbeat",
        f"{connections:,} idle WebSockets on uvicorn, for {SECONDS:g} s; asked after {INTERVAL:g} s"
        f" of silence, {TIMEOUT:g} s to answer",
        [
            Figure("without heartbeat", without, "% of a processor"),
            Figure("with heartbeat", watched, "% of a processor", at_most=2),
            Figure("bare, with a task that asks for each", bare, "% of a processor"),
            Figure("questions asked of each", statistics.median(asked)),
            Figure("gone and noticed, median", statistics.median(late), "s late", at_most=0.5),
            Figure("gone and noticed, at most", max(late), "s late", at_most=0.5),
            Figure("gone and noticed, at least", min(late), "s late", at_least=-0.5),
        ],
        {**samples, "late": late},
    )


class _Crowd:
    """Clients that say nothing by themselves, and answer what they are asked."""

    def __init__(self, server: ServerProcess, size: int) -> None:
        self.answered = 0
        self._silent_since: dict[int, float] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._poll = select.poll()
        host = next(_hosts)
        for number in range(size):
            client = connect(server.port, source=host)
            client.setblocking(False)
            self._sockets[client.fileno()] = client
            self._silent_since[client.fileno()] = time.monotonic()
            self._poll.register(client.fileno(), select.POLLIN)
            if number % _BATCH == 0:
                # On a slow machine the first are asked before the last have come.
                self.answer_until(0)
        self.answered = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._sockets.values():
            client.close()

    def answer_until(self, end: float) -> None:
        """Answer once, and then until ``end``."""
        while True:
            for descriptor in self._ready():
                self._answer(descriptor)
            if time.monotonic() >= end:
                return

    def watch_some_go(self, number: int) -> list[float]:
        """Let clients stop to answer; how much later than promised each is cut off."""
        rest = set(list(self._sockets)[:: len(self._sockets) // number])
        late: list[float] = []
        give_up_at = time.monotonic() + 2 * (INTERVAL + TIMEOUT)
        while rest:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{len(rest)} clients are gone and were not noticed")
            for descriptor in self._ready():
                if descriptor not in rest:
                    self._answer(descriptor)
                elif not self._sockets[descriptor].recv(1024).startswith(_QUESTION):
                    # A close frame, or the end.
                    silent = time.monotonic() - self._silent_since[descriptor]
                    late.append(silent - INTERVAL - TIMEOUT)
                    rest.remove(descriptor)
                    self._poll.unregister(descriptor)
        return late

    def _ready(self) -> Iterator[int]:
        # As in clients.Room: the server is not to pay for waking the clients.
        time.sleep(_PAUSE)
        return (descriptor for descriptor, _ in self._poll.poll(0))

    def _answer(self, descriptor: int) -> None:
        client = self._sockets[descriptor]
        question = client.recv(1024)
        if question != _QUESTION:
            raise ConnectionError(f"expected a heartbeat, got {question!r}")
        client.send(_ANSWER)
        self._silent_since[descriptor] = time.monotonic()
        self.answered += 1
