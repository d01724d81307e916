"""A client that never reads, in a room of others: what it costs the server, and them."""

from contextlib import ExitStack

from benchmarks.clients import connect
from benchmarks.ratios import in_turn
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, ServerProcess, Side
from benchmarks.steady import SteadyRoom, latency_figures, note_percentiles
from benchmarks.workers._process import pin

MEMBERS = 100
SIZE = 2000
"""Bytes of a message."""
INTERVAL = 0.01
MESSAGES = 60
"""In each turn."""
TURNS = 11
FILLING = 2000
"""Messages that are sent before, so that what the system itself keeps for a client is full."""

POLICIES = ("none", "wait", "drop_newest", "drop_oldest", "latest_per_key", "close")


def run(ours: Side, _reference: Side, cores: Cores) -> Report:
    pin(cores.clients)
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    for policy in POLICIES:
        found, megabytes = _measure(policy, ours, cores)
        for name, values in found.items():
            samples[f"{policy}: {name}"] = values
        figures += latency_figures(policy, found, "a slow client", 1.2)
        figures.append(Figure(f"{policy}: memory for the slow client", megabytes, "MB"))
    conditions = (
        f"{MEMBERS} clients in a room on uvicorn, {1 / INTERVAL:.0f} messages of {SIZE:,} bytes a "
        f"second, with and without one more that never reads (outbox of 256 KB)"
    )
    return Report("slow", conditions, figures, samples)


def _measure(policy: str, side: Side, cores: Cores) -> tuple[dict[str, list[float]], float]:
    with ExitStack() as stack:
        server = stack.enter_context(side.serve("slow", cores.measured))
        alone = _room(server, f"/{policy}/alone", stack)
        beside = _room(server, f"/{policy}/beside", stack)
        for room in (alone, beside):
            room.latencies(FILLING, 0.001)
        before = server.resident_bytes()
        slow = connect(server.port, f"/{policy}/beside", receive_buffer=4096)
        stack.callback(slow.close)
        beside.latencies(FILLING, 0.001)
        megabytes = (server.resident_bytes() - before) / 1e6
        found: dict[str, list[float]] = {}

        def measure(name: str, room: SteadyRoom) -> float:
            latencies = room.latencies(MESSAGES, INTERVAL)
            note_percentiles(found, name, latencies)
            return 0

        in_turn(
            TURNS,
            {
                "alone": lambda: measure("alone", alone),
                "beside": lambda: measure("beside", beside),
            },
        )
        return found, megabytes


def _room(server: ServerProcess, path: str, stack: ExitStack) -> SteadyRoom:
    room = SteadyRoom(server.port, path, MEMBERS, SIZE)
    stack.callback(room.close)
    return room
