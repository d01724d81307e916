"""The Redis layers beside the reference's: two processes, one process, visits."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import redis_floor
from benchmarks.ratios import ratio
from benchmarks.redis_server import Server, running
from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side

LAYERS = ("queue", "pubsub")
TURNS = 5
MEMBERS = 10
SENDERS = 60


@dataclass(frozen=True)
class Job:
    """A thing to do in both environments; how often is some half a second's worth."""

    name: str
    worker: str
    times: Mapping[str, int]
    """By side and layer, as in ``"ours queue"``."""
    options: Mapping[str, object]
    count: str
    """The worker's option for how often."""
    results: Mapping[str, "Result"]
    """What of the worker's answer is reported."""


@dataclass(frozen=True)
class Result:
    label: str
    unit: str
    goals: Mapping[str, float]
    """By layer: how much better than the reference it should be."""
    lower_is_better: bool = False
    scale: float = 1


JOBS = (
    Job(
        "group",
        "redis_senders",
        {"ours queue": 30_000, "reference queue": 1500, "ours pubsub": 60_000}
        | {"reference pubsub": 6000},
        {"members": MEMBERS, "senders": SENDERS},
        "messages",
        {
            "publishes": Result("publishes", "a second", {"queue": 25, "pubsub": 12}),
            "deliveries": Result("deliveries", "a second", {"queue": 30, "pubsub": 6}),
        },
    ),
    Job(
        "latency",
        "redis_senders",
        {f"{side} {layer}": 250 for side in ("ours", "reference") for layer in LAYERS},
        {"members": MEMBERS, "pause": 0.003},
        "messages",
        {
            "median": Result("latency, median", "ms", {"queue": 3, "pubsub": 1}, True, 1000),
            "p99": Result("latency, p99", "ms", {}, True, 1000),
        },
    ),
    Job(
        "local",
        "redis_local",
        {"ours queue": 600, "reference queue": 20, "ours pubsub": 600, "reference pubsub": 200},
        {"job": "group"},
        "times",
        {"rate": Result("group_send to 1,000 own members", "a second", {"queue": 15, "pubsub": 2})},
    ),
    *(
        Job(
            job,
            "redis_local",
            {"ours queue": 15_000, "reference queue": 500, "ours pubsub": 15_000}
            | {"reference pubsub": 2000},
            {"job": job},
            "times",
            {"rate": Result(label, "a second", goals)},
        )
        for job, label, goals in (
            ("visits", "open, join, leave, close", {"queue": 20, "pubsub": 5}),
            ("visits-beside", "the same beside a member", {}),
        )
    ),
    Job(
        "own",
        "redis_local",
        {"ours queue": 60_000, "reference queue": 600, "ours pubsub": 60_000}
        | {"reference pubsub": 3000},
        {"job": "own"},
        "times",
        {"rate": Result("send to an own channel", "a second", {"queue": 50, "pubsub": 20})},
    ),
)


def run(ours: Side, reference: Side, _cores: Cores, *, server_command: str | None = None) -> Report:
    figures: list[Figure] = []
    samples: dict[str, Sequence[float]] = {}
    with running(server_command) as server:
        conditions = f"beside {server.version}"
        for layer in LAYERS:
            for job in JOBS:
                found = _in_turn(job, layer, (ours, reference), server)
                figures += _figures(job, layer, found)
                samples |= {f"{layer}: {job.name}: {name}": found[name] for name in found}
            floor = redis_floor.measure(layer, ours, server)
            figures += floor.figures
            samples |= floor.samples
    return Report("redis", conditions, figures, samples)


def _in_turn(job: Job, layer: str, sides: Sequence[Side], server: Server) -> dict[str, list[float]]:
    """By side and result."""
    samples: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for side in sides:
            server.clear()
            answer = side.run(
                job.worker,
                layer=layer,
                url=server.url,
                **{job.count: job.times[f"{side.name} {layer}"]},
                **job.options,
            )
            if not answer.get("correct", True):
                raise AssertionError(f"{side.name}, {layer}: a message came twice, or a wrong one")
            for name in (*job.results, "lost"):
                if name in answer:
                    samples.setdefault(f"{side.name} {name}", []).append(float(answer[name]))
    return samples


def _figures(job: Job, layer: str, found: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    for name, result in job.results.items():
        own, other = found[f"ours {name}"], found[f"reference {name}"]
        for side, values in (("ours", own), ("reference", other)):
            label = f"{layer}: {result.label}: {side}"
            yield Figure(label, statistics.median(values) * result.scale, result.unit)
        times = ratio(other, own) if result.lower_is_better else ratio(own, other)
        quotient = "reference / ours" if result.lower_is_better else "ours / reference"
        yield Figure(
            f"{layer}: {result.label}: {quotient}", times, at_least=result.goals.get(layer)
        )
    if any(found.get("ours lost", ())) or any(found.get("reference lost", ())):
        for side in ("ours", "reference"):
            yield Figure(f"{layer}: {job.name}: lost by {side}", sum(found[f"{side} lost"]))
