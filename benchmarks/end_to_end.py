"""A room of real WebSocket clients on uvicorn: the server's processor time for each delivery."""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.clients import Room
from benchmarks.ratios import in_turn, ratio
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, ServerProcess, Side
from benchmarks.workers._process import pin

MEMBERS = 200
PUBLISHERS = 4
WINDOW = 8
"""Messages under way at a time: far below any capacity, so that every member gets them all."""
ROUNDS = 5
"""Fresh processes for each: where things happen to lie in memory matters, too."""
TURNS = 9


@dataclass(frozen=True)
class Variant:
    name: str
    side: Side
    app: str
    messages: int
    """In each turn: some ten milliseconds' worth."""


@dataclass(frozen=True)
class Running:
    variant: Variant
    server: ServerProcess
    room: Room

    def cost(self) -> float:
        """Microseconds of the server for one delivery."""
        before = self.server.cpu_seconds()
        self.room.publish(self.variant.messages, WINDOW)
        seconds = self.server.cpu_seconds() - before
        return seconds / (self.variant.messages * MEMBERS) * 1e6


def run(ours: Side, reference: Side, cores: Cores) -> Report:
    variants = (
        Variant("bare", ours, "bare", 96),
        Variant("ours by handler", ours, "handler", 96),
        Variant("ours by broadcast", ours, "broadcast", 96),
        Variant("reference by handler", reference, "handler", 16),
    )
    pin(cores.clients)
    samples: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            running = [_start(variant, stack, cores) for variant in variants]
            found = in_turn(TURNS, {each.variant.name: each.cost for each in running})
        for name, costs in found.items():
            samples[name] += costs
    bare, handler = samples["bare"], samples["ours by handler"]
    broadcast, reference_costs = samples["ours by broadcast"], samples["reference by handler"]
    return Report(
        "e2e",
        f"{MEMBERS} WebSocket clients in one room on uvicorn, server's processor time",
        [
            *(
                Figure(name, statistics.median(costs), "µs a delivery")
                for name, costs in samples.items()
            ),
            Figure("bare / ours by handler", ratio(bare, handler), at_least=0.6),
            Figure("bare / ours by broadcast", ratio(bare, broadcast), at_least=0.95),
            Figure("reference / ours by handler", ratio(reference_costs, handler), at_least=5),
        ],
        samples,
    )


def _start(variant: Variant, stack: ExitStack, cores: Cores) -> Running:
    server = stack.enter_context(variant.side.serve(variant.app, cores.measured))
    room = Room(server.port, MEMBERS, PUBLISHERS)
    stack.callback(room.close)
    room.publish(variant.messages, WINDOW)
    return Running(variant, server, room)
