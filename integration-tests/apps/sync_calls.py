"""Sends numbers to the group "room" as code without an event loop does.

``sync_calls.py HOW FIRST END``; the layer is that of `redis_layer.py`.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis_layer as redis_layer  # registers it
from asgiref.sync import async_to_sync

from fast_channels.layers import get_channel_layer, get_sync_channel_layer

THREADS = 32


def with_async_to_sync(number: int) -> None:
    async_to_sync(get_channel_layer().group_send)("room", {"type": "number", "number": number})


def with_sync_layer(number: int) -> None:
    get_sync_channel_layer().group_send("room", {"type": "number", "number": number})


def from_threads(send: Callable[[int], None], numbers: range) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(send, numbers):
            pass


def from_forks(numbers: range) -> None:
    """A third in this process, while two forks of it send the others; it has sent before."""
    first, *others = (numbers[start::3] for start in range(3))
    with_sync_layer(first[0])
    children: list[int] = []
    for share in others:
        child = os.fork()
        if not child:
            send_all(share)
            sys.exit(0)
        children.append(child)
    send_all(first[1:])
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0


def send_all(numbers: range) -> None:
    for number in numbers:
        with_sync_layer(number)


def from_processes(method: str, numbers: range) -> None:
    multiprocessing.set_start_method(method)
    first, *others = (numbers[start::3] for start in range(3))
    with_sync_layer(first[0])
    children = [multiprocessing.Process(target=send_all, args=(share,)) for share in others]
    for child in children:
        child.start()
    send_all(first[1:])
    for child in children:
        child.join()
        assert child.exitcode == 0


if __name__ == "__main__":
    how, numbers = sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3]))
    if how == "async_to_sync":
        from_threads(with_async_to_sync, numbers)
    elif how == "sync-layer":
        from_threads(with_sync_layer, numbers)
    elif how == "os.fork":
        from_forks(numbers)
    else:
        from_processes(how, numbers)
