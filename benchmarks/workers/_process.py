"""This process: its processor, its memory, its voice."""

import json
import os
from pathlib import Path


def pin(core: int) -> None:
    """Stay on one processor, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def resident_bytes() -> int:
    """The resident set; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def say(**values: object) -> None:
    """Answer the process that started this one."""
    print(json.dumps(values), flush=True)
