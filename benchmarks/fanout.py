"""``group_send`` of the in-memory layers to receivers in the same process."""

import statistics
from collections.abc import Callable
from functools import partial

from benchmarks.ratios import in_turn, ratio
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side

SIZES = (10, 100, 1000, 10_000)
COMPARED = {100: 20, 1000: 100}
"""Members, and how many times the reference's deliveries a second are the goal."""
RHYTHMS = ("burst", "paced")
TURNS = 3
OURS = 600_000
REFERENCE = 16_000
"""Deliveries in each turn, about: a second's worth."""
_BURST = 80
"""Messages sent in one go; below the default capacity of a channel, 100, on both sides."""


def run(ours: Side, reference: Side, cores: Cores) -> Report:
    figures: list[Figure] = []
    samples: dict[str, list[float]] = {}
    for rhythm in RHYTHMS:
        measures: dict[str, Callable[[], float]] = {}
        for members in SIZES:
            measures[f"ours, {members:,}, {rhythm}"] = partial(
                _cost, ours, members, rhythm, OURS, cores
            )
            if members in COMPARED:
                measures[f"reference, {members:,}, {rhythm}"] = partial(
                    _cost, reference, members, rhythm, REFERENCE, cores
                )
        found = in_turn(TURNS, measures)
        samples |= found
        figures += _figures(found, rhythm)
    return Report(
        "fanout",
        "group_send to members that loop on receive, one process, processor time",
        figures,
        samples,
    )


def _figures(found: dict[str, list[float]], rhythm: str) -> list[Figure]:
    costs = [
        Figure(name, statistics.median(values), "µs a delivery") for name, values in found.items()
    ]
    ratios = [
        Figure(
            f"reference / ours, {members:,}, {rhythm}",
            ratio(
                found[f"reference, {members:,}, {rhythm}"], found[f"ours, {members:,}, {rhythm}"]
            ),
            at_least=goal,
        )
        for members, goal in COMPARED.items()
    ]
    by_size = [statistics.median(found[f"ours, {members:,}, {rhythm}"]) for members in SIZES]
    flatness = Figure(
        f"dearest / cheapest size, {rhythm}", max(by_size) / min(by_size), at_most=1.5
    )
    return [*costs, *ratios, flatness]


def _cost(side: Side, members: int, rhythm: str, deliveries: int, cores: Cores) -> float:
    """Microseconds of the process for one delivery."""
    messages = max(deliveries // members, 1)
    answer = side.run(
        "fanout",
        members=members,
        rhythm=rhythm,
        burst=min(messages, _BURST),
        bursts=max(messages // _BURST, 1),
        core=cores.measured,
    )
    return float(answer["seconds"]) * 1e6
