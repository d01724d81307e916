"""The leak matrix on one layer, in a process of its own; says what it found as JSON."""

import argparse
import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from leak_cases import CAPACITY
from leak_census import only_what_is_new
from leak_matrix import Matrix, Row
from tcp_broker import Broker, TcpLayer

from fast_channels.layers import BaseChannelLayer, InMemoryChannelLayer, register_channel_layer
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer
from soak.memory import resident_bytes

LAYERS: Final = ("memory", "tcp", "queue", "pubsub")
ROUNDS: Final = 10
_LINGER: Final = 0.01
_MEMORIES: Final = ("_Recent.serials", "_Recent.order")
"""How the queue layer knows messages that come twice: the latest of each sender, so many."""


async def measure(layer_name: str, url: str, endings: int, seconds: float) -> dict[str, object]:
    """Endings of every kind, ``endings`` in all, or fewer if time is up before."""
    rows: dict[str, Row] = {}
    growth: Counter[str] = Counter()
    async with _layer(layer_name, url) as roots:
        matrix = Matrix(*roots, memories=_MEMORIES)
        give_up_at = time.monotonic() + seconds
        await matrix.warm_up()
        at_first = before = _memory()
        for _ in range(ROUNDS):
            for way in matrix.ways:
                if time.monotonic() > give_up_at:
                    break
                found = await matrix.run(way, endings // ROUNDS // len(matrix.ways))
                row = rows.setdefault(found.title, Row(found.title))
                row.endings += found.endings
                row.cancelled += found.cancelled
                row.problems += found.problems
                row.left = found.left  # what is left since the beginning
                now = _memory()
                growth[row.title] += now - before
                before = now
    return {
        "rows": [vars(row) | {"growth": growth[row.title]} for row in rows.values()],
        "growth": before - at_first,
        "seconds": seconds + time.monotonic() - give_up_at,
    }


@asynccontextmanager
async def _layer(name: str, url: str) -> AsyncGenerator[tuple[object, ...]]:
    """The layer, registered and connected, and what else has tables."""
    broker: Broker | None = None
    layer: BaseChannelLayer
    match name:
        case "memory":
            layer = InMemoryChannelLayer(capacity=CAPACITY)
        case "tcp":
            broker = Broker()
            await broker.start()
            layer = TcpLayer(broker.port, capacity=CAPACITY, linger=_LINGER)
        case "queue":
            layer = RedisChannelLayer([url], capacity=CAPACITY, linger=_LINGER)
        case _:
            layer = RedisPubSubChannelLayer([url], capacity=CAPACITY, linger=_LINGER)
    register_channel_layer("default", layer)
    await layer.close_channel(await layer.new_channel())
    yield (layer, broker)
    await layer.close()
    if broker is not None:
        await broker.stop()


def _memory() -> int:
    gc.collect()
    return resident_bytes()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layer", choices=LAYERS, required=True)
    parser.add_argument("--url", default="")
    parser.add_argument("--endings", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    with only_what_is_new():
        found = asyncio.run(measure(options.layer, options.url, options.endings, options.seconds))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
