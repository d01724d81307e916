"""Connections of ours that come and go, half of them by an exception: what is left."""

from benchmarks.report import Figure, Report
from benchmarks.sides import Cores, Side

CYCLES = 100_000


def run(ours: Side, _reference: Side, cores: Cores) -> Report:
    found = ours.run("cycles", cycles=CYCLES, core=cores.measured)
    return Report(
        "cycles",
        f"{CYCLES:,} connections, without sockets, half of them ended by an exception",
        [
            Figure("tasks left", found["tasks"], at_most=0),
            Figure("objects of ours left", found["objects"], at_most=0),
            Figure("channels and groups left", found["entries"], at_most=0),
            Figure("connections without disconnect()", found["missed"], at_most=0),
            Figure("growth of resident memory", found["growth"] / 1e6, "MB", at_most=5),
            Figure("processor time", found["seconds"] * 1e6, "µs a connection"),
        ],
        {name: [float(value)] for name, value in found.items()},
    )
