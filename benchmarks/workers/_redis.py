"""A Redis layer of this environment, and what the Redis workers do with one."""

import argparse
import asyncio
import json
import subprocess
import sys
from typing import Any

from fast_channels.layers.base import BaseChannelLayer
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer

LAYERS = {"queue": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}
GROUP = "room"
MESSAGE: dict[str, Any] = {
    "type": "chat.message",
    "room": "general",
    "user": "ada",
    "text": "The quick brown fox jumps over the lazy dog, and then takes a rather long rest.",
}
_CAPACITY = 1_000_000
"""Of a channel: nothing is to be dropped while receivers are behind."""


def make_layer(name: str, url: str) -> BaseChannelLayer:
    return LAYERS[name](hosts=[url], capacity=_CAPACITY)


async def close_channel(
    layer: BaseChannelLayer, channel: str, receiving: asyncio.Task[Any]
) -> None:
    """Forget a channel and end the call that receives from it."""
    if hasattr(layer, "close_channel"):
        await layer.close_channel(channel)
    else:
        # How consumers of the reference do both.
        receiving.cancel()
    await asyncio.wait([receiving])
    if not receiving.cancelled():
        receiving.exception()


def parser() -> argparse.ArgumentParser:
    """With what every worker that uses a layer has to know."""
    made = argparse.ArgumentParser()
    made.add_argument("--layer", choices=LAYERS, required=True)
    made.add_argument("--url", required=True)
    return made


class Members:
    """Another process of this environment, with members of the group: see redis_members.py."""

    def __init__(self, **options: object) -> None:
        """Returns when they are in the group and wait for messages."""
        pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [sys.executable, "-E", "-m", "benchmarks.workers.redis_members", *pairs],
            stdout=subprocess.PIPE,
        )
        self._hear()

    def found(self) -> dict[str, Any]:
        """What they say, once they have every message or nothing comes any more."""
        values = self._hear()
        self._process.communicate()
        return values

    def _hear(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the members were started without a pipe to hear them")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the members' process ended early; what it printed is above")
        values: dict[str, Any] = json.loads(line)
        return values
