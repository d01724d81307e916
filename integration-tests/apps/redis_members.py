"""A process of many members: ``redis_members.py KIND URL LEASE COUNT``; prints a channel's name."""

import asyncio
import sys

from fast_channels_redis.pubsub import RedisPubSubChannelLayer
from fast_channels_redis.queue import RedisChannelLayer


async def main(kind: str, url: str, lease: str, count: str) -> None:
    if kind == "queue":
        layer: RedisChannelLayer | RedisPubSubChannelLayer = RedisChannelLayer(
            [url], lease=float(lease)
        )
    else:
        layer = RedisPubSubChannelLayer([url])
    name = ""
    for number in range(int(count)):
        name = await layer.new_channel()
        await layer.group_add("room", name)
        await layer.group_add(f"room{number % 100}", name)
    print(name, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
