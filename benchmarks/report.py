"""Figures with their goals: as a table for people, as JSON for programs."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One number that was measured, and the bounds it should keep, if it has any."""

    label: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def cells(self) -> tuple[str, str, str]:
        """What it is, what it came to, what was to be reached."""
        goal = ""
        if self.at_least is not None:
            goal = f"at least {self.at_least:g}"
        elif self.at_most is not None:
            goal = f"at most {self.at_most:g}"
        if goal:
            goal += ": met" if self.is_met else ": MISSED"
        return self.label, f"{self.value:,.2f} {self.unit}".rstrip(), goal


@dataclass(frozen=True)
class Report:
    """What one benchmark found."""

    benchmark: str
    conditions: str
    figures: Sequence[Figure]
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    """Every single measurement, in the order of measuring."""

    def table(self) -> str:
        rows = [figure.cells() for figure in self.figures]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"  {label:<{widths[0]}}  {value:>{widths[1]}}  {goal}".rstrip()
            for label, value, goal in rows
        ]
        return "\n".join([f"{self.benchmark}: {self.conditions}", *lines])

    def save(self, environments: Mapping[str, object]) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.benchmark}.json"
        values = {**asdict(self), "processor": processor(), "environments": environments}
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} processors" if models else platform.processor()
