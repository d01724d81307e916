"""Idle WebSocket connections on uvicorn: what each adds to the server's resident memory."""

import socket
import statistics

from benchmarks.clients import connect, descriptors
from benchmarks.ratios import in_turn
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side

CONNECTIONS = 8000
FIRST = 300
"""Connections that are open already when counting starts: the first ones bring imports, pools."""
TURNS = 2
_SPARE_DESCRIPTORS = 100


def run(ours: Side, reference: Side, cores: Cores) -> Report:
    connections = min(CONNECTIONS, descriptors() - FIRST - _SPARE_DESCRIPTORS)

    def measure(side: Side, app: str) -> float:
        return _kilobytes(side, app, cores, connections)

    samples = in_turn(
        TURNS,
        {
            "bare": lambda: measure(ours, "bare"),
            "ours": lambda: measure(ours, "handler"),
            "reference": lambda: measure(reference, "handler"),
        },
    )
    bare, own, other = (statistics.median(samples[name]) for name in ("bare", "ours", "reference"))
    return Report(
        "memory",
        f"{connections:,} idle WebSockets on uvicorn; JSON consumers with a layer, in one group",
        [
            Figure("bare", bare, "KB a connection"),
            Figure("ours over bare", own - bare, "KB a connection", at_most=5),
            Figure("reference over bare", other - bare, "KB a connection"),
        ],
        samples,
    )


def _kilobytes(side: Side, app: str, cores: Cores, connections: int) -> float:
    sockets: list[socket.socket] = []
    try:
        with side.serve(app, cores.measured) as server:
            sockets += [connect(server.port) for _ in range(FIRST)]
            before = server.resident_bytes()
            sockets += [connect(server.port) for _ in range(connections)]
            return (server.resident_bytes() - before) / connections / 1000
    finally:
        for each in sockets:
            each.close()
