"""Processor time of ``group_send`` to receivers that loop on ``receive``, in one process."""

import argparse
import asyncio
import time

import uvloop

from benchmarks.workers._process import pin, say
from fast_channels.layers import InMemoryChannelLayer

_MESSAGE = {
    "type": "chat.message",
    "room": "general",
    "user": "ada",
    "text": "The quick brown fox jumps over the lazy dog, and then takes a rather long rest.",
}


class FanOut:
    def __init__(self) -> None:
        self._layer = InMemoryChannelLayer()
        self._sent = 0
        self._last_has = 0
        self._drained = asyncio.Event()

    async def run(self, members: int, bursts: int, burst: int, *, paced: bool) -> float:
        """Seconds of this process for ``bursts * burst`` messages, after one burst to warm up."""
        channels = [await self._layer.new_channel() for _ in range(members)]
        for channel in channels:
            await self._layer.group_add("room", channel)
        total = (bursts + 1) * burst
        tasks = [asyncio.create_task(self._receive(each, total)) for each in channels[:-1]]
        tasks.append(asyncio.create_task(self._receive_last(channels[-1], total)))
        await asyncio.sleep(0)
        await self._send(burst, paced=paced)
        started = time.process_time()
        for _ in range(bursts):
            await self._send(burst, paced=paced)
        # Ends only when every member has every message.
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks)
        return time.process_time() - started

    async def _receive(self, channel: str, total: int) -> None:
        for _ in range(total):
            await self._layer.receive(channel)

    async def _receive_last(self, channel: str, total: int) -> None:
        """As the others do, and tell the sender when a burst has arrived."""
        for _ in range(total):
            await self._layer.receive(channel)
            self._last_has += 1
            if self._last_has == self._sent:
                self._drained.set()

    async def _send(self, burst: int, *, paced: bool) -> None:
        self._drained.clear()
        self._sent += burst
        for _ in range(burst):
            await self._layer.group_send("room", _MESSAGE)
            if paced:
                await asyncio.sleep(0)
        async with asyncio.timeout(120):
            await self._drained.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, required=True)
    parser.add_argument("--bursts", type=int, required=True)
    parser.add_argument("--burst", type=int, required=True)
    parser.add_argument("--rhythm", choices=("burst", "paced"), required=True)
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    pin(options.core)

    async def measure() -> float:
        return await FanOut().run(
            options.members, options.bursts, options.burst, paced=options.rhythm == "paced"
        )

    seconds = uvloop.run(measure())
    say(seconds=seconds / (options.members * options.bursts * options.burst))


if __name__ == "__main__":
    main()
