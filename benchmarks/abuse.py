"""A client that sends as fast as it can: what it adds to the latency of well-behaved ones."""

import statistics
from dataclasses import dataclass

from benchmarks.ratios import in_turn
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side
from benchmarks.steady import SteadyEchoes, latency_figures, note_percentiles
from benchmarks.workers._process import pin

CLIENTS = 100
INTERVAL = 0.1
FRAMES = 15
"""Of each client in each turn."""
TURNS = 9


@dataclass(frozen=True)
class Variant:
    name: str
    on_excess: str
    goal: float | None
    pause: float = 0
    """Seconds after which the abuser is back, if it is closed."""


VARIANTS = (
    Variant("none", "none", None),
    Variant("delay", "delay", 1.1),
    Variant("report", "report", 1.1),
    Variant("close, stays away", "close", 1.1, pause=60),
    Variant("close, back after 1 s", "close", 1.1, pause=1),
)


def run(ours: Side, _reference: Side, cores: Cores) -> Report:
    pin(cores.clients)
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    for variant in VARIANTS:
        found = _measure(variant, ours, cores)
        for name, values in found.items():
            samples[f"{variant.name}: {name}"] = values
        figures += latency_figures(variant.name, found, "the abuser", variant.goal)
        added = statistics.median(found["load beside"]) - statistics.median(found["load alone"])
        figures.append(Figure(f"{variant.name}: added load", added * 100, "% of a core"))
    conditions = (
        f"{CLIENTS} clients on uvicorn, {1 / INTERVAL:.0f} frames a second each, all answered, "
        "with and without one that floods the server (limit: 20 frames a second, 40 at once)"
    )
    return Report("abuse", conditions, figures, samples)


def _measure(variant: Variant, side: Side, cores: Cores) -> dict[str, list[float]]:
    path = f"/{variant.on_excess}"
    found: dict[str, list[float]] = {}
    with side.serve("limited", cores.measured) as server:
        echoes = SteadyEchoes(server.port, path, CLIENTS)

        def measure(name: str) -> float:
            before = server.cpu_seconds()
            latencies = echoes.latencies(FRAMES, INTERVAL)
            load = (server.cpu_seconds() - before) / (FRAMES * INTERVAL)
            found.setdefault(f"load {name}", []).append(load)
            note_percentiles(found, name, latencies)
            return load

        def measure_alone() -> float:
            # What the abuser has left behind comes first.
            echoes.latencies(FRAMES, INTERVAL)
            return measure("alone")

        def measure_beside() -> float:
            options = {"path": path, "pause": variant.pause, "core": cores.clients}
            with side.start("abuser", {"port": server.port, **options}) as abuser:
                abuser.hear()
                return measure("beside")

        try:
            in_turn(TURNS, {"alone": measure_alone, "beside": measure_beside})
        finally:
            echoes.close()
    return found
