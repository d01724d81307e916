"""Well-behaved clients at a steady rhythm: how long their messages take while others misbehave."""

import json
import select
import statistics
import time
from collections.abc import Mapping, Sequence

from benchmarks.clients import Member, text_frame
from benchmarks.ratios import ratio
from benchmarks.report import Figure


class _TimedMember(Member):
    """Notes how long after its sending each message came."""

    def __init__(self, port: int, path: str, sent_at: Sequence[float]) -> None:
        super().__init__(port, path)
        self._sent_at = sent_at
        self.latencies: list[float] = []

    def _check(self, text: bytes) -> None:
        super()._check(text)
        self.latencies.append(time.perf_counter() - self._sent_at[self.received - 1])


class SteadyRoom:
    """Members of one room, the first of which sends at regular intervals."""

    def __init__(self, port: int, path: str, members: int, size: int) -> None:
        """``size``: of a message, in bytes."""
        self._sent_at: list[float] = []
        self._size = size
        self._members = [_TimedMember(port, path, self._sent_at) for _ in range(members)]
        self._by_descriptor = {each.connection.fileno(): each for each in self._members}
        self._poll = select.poll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.POLLIN)

    def latencies(self, messages: int, interval: float) -> list[float]:
        """Send a message every ``interval`` seconds; the seconds that each took to each member."""
        for member in self._members:
            member.latencies.clear()
        start = time.perf_counter()
        for number in range(messages):
            self._read_until(start + number * interval)
            self._send()
        while any(member.received < len(self._sent_at) for member in self._members):
            self._read_until(time.perf_counter() + interval)
        return [latency for member in self._members for latency in member.latencies]

    def close(self) -> None:
        for member in self._members:
            member.connection.close()

    def _send(self) -> None:
        text = json.dumps({"number": len(self._sent_at), "padding": "x" * self._size}).encode()
        self._sent_at.append(time.perf_counter())
        self._members[0].connection.sendall(text_frame(text))

    def _read_until(self, moment: float) -> None:
        while (left := moment - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left * 1000):
                self._by_descriptor[descriptor].read()


class SteadyEchoes:
    """Clients of an application that answers each of their frames, one after the other."""

    def __init__(self, port: int, path: str, clients: int) -> None:
        self._sent_at = [list[float]() for _ in range(clients)]
        self._clients = [_TimedMember(port, path, sent_at) for sent_at in self._sent_at]
        self._by_descriptor = {each.connection.fileno(): each for each in self._clients}
        self._poll = select.poll()
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.POLLIN)

    def latencies(self, frames: int, interval: float) -> list[float]:
        """Let each client send so many frames, one every ``interval`` seconds; the seconds until
        each answer."""
        for client in self._clients:
            client.latencies.clear()
        start, pause = time.perf_counter(), interval / len(self._clients)
        for number in range(frames * len(self._clients)):
            self._read_until(start + number * pause)
            self._send(number % len(self._clients))
        while any(
            client.received < len(sent_at)
            for client, sent_at in zip(self._clients, self._sent_at, strict=True)
        ):
            self._read_until(time.perf_counter() + pause)
        return [latency for client in self._clients for latency in client.latencies]

    def close(self) -> None:
        for client in self._clients:
            client.connection.close()

    def _send(self, index: int) -> None:
        sent_at = self._sent_at[index]
        text = json.dumps({"number": len(sent_at), "padding": "x" * 130}).encode()
        sent_at.append(time.perf_counter())
        self._clients[index].connection.sendall(text_frame(text))

    def _read_until(self, moment: float) -> None:
        while (left := moment - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left * 1000):
                self._by_descriptor[descriptor].read()


def percentile(latencies: Sequence[float], percent: int) -> float:
    return statistics.quantiles(latencies, n=100, method="inclusive")[percent - 1]


def note_percentiles(found: dict[str, list[float]], name: str, latencies: Sequence[float]) -> None:
    """Add the median and the 99th percentile of a turn to those of the turns before."""
    for percent in (50, 99):
        found.setdefault(f"p{percent} {name}", []).append(percentile(latencies, percent))


def latency_figures(
    variant: str, found: Mapping[str, Sequence[float]], beside_whom: str, at_most: float | None
) -> list[Figure]:
    """Of what was noted as "alone" and "beside", in turn."""
    figures: list[Figure] = []
    for percent in ("p50", "p99"):
        beside, alone = found[f"{percent} beside"], found[f"{percent} alone"]
        label = f"{variant}: {percent} beside {beside_whom} / alone"
        figures += [
            Figure(f"{variant}: {percent} alone", statistics.median(alone) * 1000, "ms"),
            Figure(label, ratio(beside, alone), at_most=at_most),
        ]
    return figures
