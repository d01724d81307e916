"""Runs the soak on every layer and server, and prints what is left; exit code 1 if anything is."""

import argparse
import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from redis_servers import RedisServer
from redis_servers._binaries import find_binary

from soak import sockets
from soak.layer import LAYERS

MOST_GROWTH: Final = 5_000_000
"""Bytes of resident memory, for all endings of a layer or a server."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"{LAYERS} {sockets.SERVERS}")
    parser.add_argument("--endings", type=int, default=100_000, help="for each layer")
    parser.add_argument("--connections", type=int, default=5_000, help="for each server")
    parser.add_argument("--seconds", type=float, default=900, help="for each layer, at most")
    options = parser.parse_args()
    known = (*LAYERS, *sockets.SERVERS)
    if unknown := set(options.names) - set(known):
        parser.error(f"expected names of {', '.join(known)}, got {sorted(unknown)}")
    failed: list[str] = []
    for name in options.names or known:
        if name in LAYERS:
            is_clean = _soak_layer(name, options.endings, options.seconds)
        else:
            is_clean = _soak_server(name, options.connections)
        if not is_clean:
            failed.append(name)
    print(f"\nnot clean: {', '.join(failed)}" if failed else "\nall clean")
    return 1 if failed else 0


def _soak_layer(name: str, endings: int, seconds: float) -> bool:
    with _broker_of(name) as server:
        url = "" if server is None else server.url
        command = [sys.executable, "-m", "soak.layer", "--layer", name, "--url", url]
        command += ["--endings", str(endings), "--seconds", str(seconds)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        found = json.loads(answer.stdout)
        left_there = 0 if server is None else len(server.execute("PUBSUB", "CHANNELS"))
    done = sum(row["endings"] for row in found["rows"])
    wrong = {row["title"]: _wrong(row) for row in found["rows"] if _wrong(row)}
    print(f"\n{name}: {done:,} endings in {found['seconds']:.0f} s")
    print(f"  {'case':<58}{'endings':>9}{'cancelled':>11}{'growth':>9}  left or wrong")
    for row in found["rows"]:
        counts = f"{row['endings']:>9,}{row['cancelled']:>11,}{row['growth'] / 1000:>6,.0f} kB"
        print(f"  {row['title']:<58}{counts}  {_wrong(row) or '-'}")
    print(f"  resident memory grew by {found['growth'] / 1e6:.1f} MB; ", end="")
    print(f"subscriptions at the server: {left_there}", flush=True)
    return not wrong and not left_there and found["growth"] <= MOST_GROWTH


@contextmanager
def _broker_of(layer: str) -> Generator[RedisServer | None]:
    if layer not in ("queue", "pubsub"):
        yield None
        return
    with RedisServer(find_binary("valkey")) as server:
        yield server.start()


def _wrong(row: Mapping[str, Any]) -> dict[str, int]:
    return {**row["problems"], **row["left"]}


def _soak_server(name: str, connections: int) -> bool:
    found = sockets.measure(name, connections)
    print(f"\n{name}: {found['endings']:,} connections in waves of {sockets.WAVE}")
    print(f"  without disconnect(): {found['missed']}; left: {dict(found['left']) or '-'}")
    print(f"  logged: {found['logged'] or '-'}")
    print(f"  resident memory grew by {found['growth'] / 1e6:.1f} MB", flush=True)
    wrong = found["missed"] or found["left"] or found["logged"]
    return not wrong and found["growth"] <= MOST_GROWTH


if __name__ == "__main__":
    sys.exit(main())
