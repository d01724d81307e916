"""What a layer's own process asks of it: a large group, visits, its own channels."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks.workers._process import say
from benchmarks.workers._redis import GROUP, MESSAGE, close_channel, make_layer, parser
from fast_channels.layers.base import BaseChannelLayer

_MEMBERS = 1000


async def _group(layer: BaseChannelLayer, messages: int) -> float:
    """Seconds until each of many members has every message; calls follow one another."""
    channels = [await layer.new_channel() for _ in range(_MEMBERS)]
    for channel in channels:
        await layer.group_add(GROUP, channel)
    tasks = [asyncio.create_task(_receive(layer, channel, messages)) for channel in channels]
    await asyncio.sleep(0)
    started = time.monotonic()
    for _ in range(messages):
        await layer.group_send(GROUP, MESSAGE)
    await asyncio.gather(*tasks)
    return time.monotonic() - started


async def _visits(layer: BaseChannelLayer, visits: int) -> float:
    """Seconds for channels that open, receive, join a group, leave it and close, in turn."""

    async def visit(times: int) -> None:
        for _ in range(times):
            channel = await layer.new_channel()
            receiving = asyncio.create_task(layer.receive(channel))
            # Only a `receive` that has begun unsubscribes the reference's channel in the end.
            await asyncio.sleep(0)
            await layer.group_add(GROUP, channel)
            await layer.group_discard(GROUP, channel)
            await close_channel(layer, channel, receiving)

    await visit(10)
    started = time.monotonic()
    await visit(visits)
    return time.monotonic() - started


async def _visits_beside(layer: BaseChannelLayer, visits: int) -> float:
    """The same while a member that stays receives."""
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    receiving = asyncio.create_task(layer.receive(channel))
    # The reference's queue layer takes some steps until it waits at the server.
    await asyncio.sleep(0.05)
    seconds = await _visits(layer, visits)
    await close_channel(layer, channel, receiving)
    return seconds


async def _own(layer: BaseChannelLayer, messages: int) -> float:
    """Seconds until a channel of this process has every message; calls follow one another."""
    channel = await layer.new_channel()
    task = asyncio.create_task(_receive(layer, channel, messages + 1))
    await asyncio.sleep(0)
    await layer.send(channel, MESSAGE)
    started = time.monotonic()
    for _ in range(messages):
        await layer.send(channel, MESSAGE)
    await task
    return time.monotonic() - started


async def _receive(layer: BaseChannelLayer, channel: str, messages: int) -> None:
    for _ in range(messages):
        await layer.receive(channel)


_JOBS: dict[str, Callable[[BaseChannelLayer, int], Awaitable[float]]] = {
    "group": _group,
    "visits": _visits,
    "visits-beside": _visits_beside,
    "own": _own,
}


def main() -> None:
    arguments = parser()
    arguments.add_argument("--job", choices=_JOBS, required=True)
    arguments.add_argument("--times", type=int, required=True)
    options = arguments.parse_args()
    layer = make_layer(options.layer, options.url)

    async def measure() -> float:
        async with asyncio.timeout(60):
            return await _JOBS[options.job](layer, options.times)

    say(rate=options.times / uvloop.run(measure()))


if __name__ == "__main__":
    main()
