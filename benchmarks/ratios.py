"""Statistics that hold on a machine that others use, too."""

import statistics
from collections.abc import Callable, Mapping, Sequence


def in_turn(turns: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure A, B, A, B, …, so that whatever else the machine does disturbs all alike."""
    samples: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(turns):
        for name, measure in measures.items():
            samples[name].append(measure())
    return samples


def ratio(dividends: Sequence[float], divisors: Sequence[float]) -> float:
    """The median of the ratios of neighbours in time."""
    return statistics.median(a / b for a, b in zip(dividends, divisors, strict=True))
