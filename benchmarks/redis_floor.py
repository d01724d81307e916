"""What our Redis layers cost above what Redis itself and its parser cost."""

import socket
import socketserver
import statistics
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import hiredis

from benchmarks.ratios import ratio
from benchmarks.redis_server import Server
from benchmarks.report import Figure
from benchmarks.sides import Side

TURNS = 5
AT_ONCE = 64
ROUNDS = 200
"""Of so many messages, in a turn."""
RECEIVED = 32_000
RECORDED = 3_200
"""Messages in one turn, and through the proxy."""
_PARSED = 20
"""How often what was recorded is parsed."""


class Floor(NamedTuple):
    figures: Sequence[Figure]
    samples: Mapping[str, Sequence[float]]


def measure(layer: str, ours: Side, server: Server) -> Floor:
    def run(**options: object) -> dict[str, Any]:
        server.clear()
        return ours.run("redis_floor", layer=layer, url=server.url, **options)

    figures: list[Figure] = []
    samples: dict[str, Sequence[float]] = {}
    commands: dict[str, float] = {}
    for members, where in ((0, "to nobody"), (1, "to another process")):
        found = run(turns=TURNS, rounds=ROUNDS, members=members)
        rates, commands = found["rates"], found["commands"]
        label = f"{layer}: 64 callers {where}"
        figures += [
            Figure(f"{label}: ours", statistics.median(rates["layer"]), "a second"),
            Figure(f"{label}: bare", statistics.median(rates["bare"]), "a second"),
            Figure(f"{label}: ours / bare", ratio(rates["layer"], rates["bare"]), at_least=0.5),
        ]
        samples |= {f"{label}: {way}": values for way, values in rates.items()}

    options = {"turns": 1, "members": 1, "ways": "layer"}
    received = [run(rounds=RECEIVED // AT_ONCE, **options)["received"] for _ in range(TURNS)]
    costs = [each["cpu"] * 1e6 for each in received]
    with _recording(server.port) as (port, streams):
        through = {"members-url": f"redis://127.0.0.1:{port}"}
        run(rounds=RECORDED // AT_ONCE, **options, **through)
    parsing = _parsing(streams, RECORDED) * 1e6
    cost = statistics.median(costs)
    samples[f"{layer}: receiving"] = costs
    figures += [
        Figure(f"{layer}: receiving", cost, "µs a message"),
        Figure(f"{layer}: receiving: parsing alone", parsing, "µs a message"),
        Figure(f"{layer}: receiving: above parsing", cost - parsing, "µs a message", at_most=5),
        *(
            Figure(f"{layer}: {call}", commands[name], "commands", at_most=most)
            for name, call, most in (
                ("open", "opening a channel", 0),
                ("join", "joining a group that is here already", 0),
                ("group_send", "group_send", 1),
            )
        ),
    ]
    return Floor(figures, samples)


def _parsing(streams: Sequence[Sequence[bytes]], messages: int) -> float:
    """Seconds of processor time in which hiredis reads one message."""
    started = time.process_time()
    for _ in range(_PARSED):
        for chunks in streams:
            reader = hiredis.Reader()
            for chunk in chunks:
                reader.feed(chunk)
                while reader.gets() is not False:
                    pass
    return (time.process_time() - started) / (_PARSED * messages)


@contextmanager
def _recording(server: int) -> Generator[tuple[int, list[list[bytes]]]]:
    """Another port of the server, and what it answers there, by connection."""
    streams: list[list[bytes]] = []

    class Recorder(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answers: list[bytes] = []
            streams.append(answers)
            with socket.create_connection(("127.0.0.1", server)) as there:
                there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                asking = threading.Thread(target=_pipe, args=(self.request, there, []))
                asking.start()
                _pipe(there, self.request, answers)
                asking.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Recorder) as proxy:
        threading.Thread(target=proxy.serve_forever).start()
        try:
            yield proxy.server_address[1], streams
        finally:
            proxy.shutdown()


def _pipe(source: socket.socket, target: socket.socket, record: list[bytes]) -> None:
    """Until one of the two closes."""
    try:
        while chunk := source.recv(1 << 16):
            record.append(chunk)
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # A connection that is reset ends in both directions.
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
