"""A process with 5,000 WebSockets is told to stop: how evenly and surely it gets rid of them."""

import json
import select
import socket
import statistics
import tempfile
import time
from collections import Counter

from benchmarks.clients import connect
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side

CONNECTIONS = 5000
TIMEOUT = 10.0
JITTER = 5.0
BATCH = 100
_PATIENCE = 60
"""Seconds until clients that still are connected count as forgotten."""
_CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xf4"
"""A client's close frame with 1012, masked with zeros (RFC 6455, 5.5.1)."""
_SLICES = 10


def run(ours: Side, _reference: Side, cores: Cores) -> Report:
    options = {"timeout": TIMEOUT, "jitter": JITTER, "batch": BATCH, "core": cores.measured}
    with tempfile.TemporaryFile() as log, ours.start("drain", options, stderr=log) as server:
        connections = [connect(server.port) for _ in range(CONNECTIONS)]
        told_at = time.monotonic()
        server.terminate()
        closed_at, hints = _wait_for_all(connections)
        found = server.hear()
        exit_code = server.wait()
        seconds = time.monotonic() - told_at
        lines = log.seek(0) or len(log.readlines())
    after = [moment - told_at for moment in closed_at]
    # So that no batch falls on the border of two slices.
    half = TIMEOUT * BATCH / CONNECTIONS / 2
    slices = Counter(int((moment + half) / TIMEOUT * _SLICES) for moment in after)
    sizes = [float(slices[number]) for number in range(_SLICES)]
    return Report(
        "drain",
        f"{CONNECTIONS:,} idle WebSockets on uvicorn; {TIMEOUT:g} s, batches of {BATCH}",
        [
            Figure("from SIGTERM to the end of the process", seconds, "s", at_most=TIMEOUT + 2),
            Figure("the drain itself", found["seconds"], "s", at_most=TIMEOUT + 2),
            Figure("without a close frame of 1012", CONNECTIONS - len(hints), at_most=0),
            Figure("without disconnect()", CONNECTIONS - found["disconnects"], at_most=0),
            Figure("broken off", found["aborted"], at_most=0),
            Figure("exit code", exit_code, at_most=0),
            Figure("lines in the log", lines, at_most=0),
            Figure("closed in a tenth of the time: fewest", min(sizes)),
            Figure("closed in a tenth of the time: most", max(sizes)),
            Figure("most by fewest", max(sizes) / max(min(sizes), 1), at_most=1.5),
            Figure("hint when to come back: mean", statistics.mean(hints), "s"),
        ],
        {"closed_at": after, "retry_after": hints, "slices": sizes},
    )


def _wait_for_all(connections: list[socket.socket]) -> tuple[list[float], list[float]]:
    """When the close frames came, and the seconds that their reasons name."""
    waiting = {each.fileno(): each for each in connections}
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    moments: list[float] = []
    hints: list[float] = []
    give_up_at = time.monotonic() + _PATIENCE
    heard = dict.fromkeys(waiting, b"")
    while waiting and time.monotonic() < give_up_at:
        for descriptor, _ in poll.poll(100):
            data = waiting[descriptor].recv(4096)
            heard[descriptor] += data
            hint = _hint(heard[descriptor])
            if hint is not None:
                moments.append(time.monotonic())
                hints.append(hint)
                waiting[descriptor].sendall(_CLOSE)
            if hint is not None or not data:
                poll.unregister(descriptor)
                waiting.pop(descriptor).close()
    return moments, hints


def _hint(data: bytes) -> float | None:
    """What a close frame of 1012 says, if there is a whole one behind the text frame."""
    while len(data) >= 2 and len(data) >= 2 + data[1]:
        payload, kind = data[2 : 2 + data[1]], data[0]
        if kind == 0x88 and payload[:2] == (1012).to_bytes(2):
            return float(json.loads(payload[2:])["retry_after"])
        data = data[2 + len(payload) :]
    return None
