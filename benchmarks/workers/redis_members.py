"""Members of one group, each a task that loops on ``receive``; other processes send to them.

Says when they are ready, then what they got.
"""

import asyncio
import time

import uvloop

from benchmarks.workers._process import say
from benchmarks.workers._redis import GROUP, make_layer, parser
from fast_channels.layers.base import BaseChannelLayer

_STALL = 3.0
"""Seconds without any message after which what is missing counts as lost.

Below the five after which the reference's queue layer raises for lack of messages.
"""


class Received:
    """What came; the members count for themselves, so that counting costs little."""

    def __init__(self, layer: BaseChannelLayer, channels: list[str], messages: int) -> None:
        self._layer = layer
        self._messages = messages
        self.counts = [0] * len(channels)
        self.latencies: list[float] = []
        self.first = self.last = self.cpu = 0.0
        self.is_correct = True
        self._tasks = [asyncio.create_task(self._member(*each)) for each in enumerate(channels)]

    async def _member(self, index: int, channel: str) -> None:
        total = 0
        counts, messages, receive = self.counts, self._messages, self._layer.receive
        message = await receive(channel)
        cpu = time.process_time()
        while True:
            total += message["number"]
            counts[index] += 1
            if sent := message.get("sent"):
                self.latencies.append(time.monotonic() - sent)
            if counts[index] == messages:
                break
            message = await receive(channel)
        self.last = time.monotonic()
        self.cpu = max(self.cpu, time.process_time() - cpu)
        # Each number once: a message that came twice does not stand in for one that is lost.
        self.is_correct &= total == messages * (messages - 1) // 2

    async def all(self) -> None:
        before = None
        while before != self.counts:
            before = list(self.counts)
            done, running = await asyncio.wait(self._tasks, timeout=_STALL)
            for task in done:
                task.result()
            if not running:
                return
        self.last = time.monotonic() - _STALL
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def _measure(layer: BaseChannelLayer, members: int, messages: int) -> None:
    channels = [await layer.new_channel() for _ in range(members)]
    for channel in channels:
        await layer.group_add(GROUP, channel)
    received = Received(layer, channels, messages)
    await asyncio.sleep(0)
    say(ready=True)
    await received.all()
    latencies = sorted(received.latencies)
    say(
        lost=members * messages - sum(received.counts),
        correct=received.is_correct,
        last=received.last,
        cpu=received.cpu / messages,
        median=latencies[len(latencies) // 2] if latencies else None,
        p99=latencies[len(latencies) * 99 // 100] if latencies else None,
    )


def main() -> None:
    arguments = parser()
    arguments.add_argument("--members", type=int, required=True)
    arguments.add_argument("--messages", type=int, required=True)
    options = arguments.parse_args()
    layer = make_layer(options.layer, options.url)
    uvloop.run(_measure(layer, options.members, options.messages))


if __name__ == "__main__":
    main()
