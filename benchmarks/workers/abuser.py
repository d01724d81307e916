"""A client that sends as fast as the server takes it, until standard input closes.

Says the port that it goes to, and then when it has flooded it for a while. It reads what comes;
where it is closed it stops, as any client library does, and comes back.
"""

import argparse
import select
import socket
import sys
import time
from collections.abc import Generator

from benchmarks.clients import connect, text_frame
from benchmarks.workers._process import pin, say

FRAME = text_frame(b"x" * 130)
CHUNK = FRAME * 100
WARM_UP = 0.5
"""Seconds of flooding before the server counts as flooded."""
SETTLED = 2
"""Seconds after which one that is closed, and stays away, costs nothing more."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True, help="seconds until it is back")
    options = parser.parse_args()
    pin(options.core)
    say(port=options.port)
    stays_away = options.pause > 10
    started, is_said = time.monotonic(), False
    while not _is_over(0):
        with connect(options.port, options.path) as connection:
            for _ in _flood(connection):
                if not is_said and not stays_away and time.monotonic() > started + WARM_UP:
                    is_said = True
                    say(flooding=True)
        if stays_away:
            # What was on its way when the server closed costs it more than what came before.
            time.sleep(SETTLED)
            say(flooding=True)
        if _is_over(options.pause):
            break


def _flood(connection: socket.socket) -> Generator[None]:
    """Send until the server closes, or nobody wants more; yields now and then."""
    connection.setblocking(False)
    rest, incoming = memoryview(CHUNK), b""
    while True:
        readable, writable, _ = select.select([connection, sys.stdin], [connection], [], 0.1)
        if sys.stdin in readable:
            return
        if connection in readable:
            try:
                data = connection.recv(1 << 16)
            except ConnectionError:
                return
            incoming, is_closed = _without_frames(incoming + data)
            if is_closed or not data:
                return
        if writable:
            try:
                count = connection.send(rest)
            except ConnectionError:
                return
            rest = rest[count:] or memoryview(CHUNK)
        yield


def _without_frames(data: bytes) -> tuple[bytes, bool]:
    """What is left behind complete frames, and whether one of them closes."""
    start = 0
    while len(data) - start >= 4:
        if data[start] == 0x88:
            return b"", True
        length, header = data[start + 1], 2
        if length == 126:
            length, header = int.from_bytes(data[start + 2 : start + 4]), 4
        if len(data) < start + header + length:
            break
        start += header + length
    return data[start:], False


def _is_over(patience: float) -> bool:
    return bool(select.select([sys.stdin], [], [], patience)[0])


if __name__ == "__main__":
    main()
