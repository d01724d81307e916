"""``group_send`` to members in another process: as fast as it goes, or one at a time."""

import asyncio
import time
from typing import Any

import uvloop

from benchmarks.workers._process import say
from benchmarks.workers._redis import GROUP, MESSAGE, Members, make_layer, parser
from fast_channels.layers.base import BaseChannelLayer

_UNTIMED = 50


async def _at_once(layer: BaseChannelLayer, senders: int, messages: int) -> tuple[float, float]:
    """When the first message was sent, and when the last call returned."""
    # Opens the connections, of which the reference's queue layer has one for each sender.
    await asyncio.gather(*(layer.group_send("nobody", MESSAGE) for _ in range(senders)))
    numbers = iter(range(messages))

    async def send() -> None:
        for number in numbers:
            await layer.group_send(GROUP, {**MESSAGE, "number": number})

    started = time.monotonic()
    await asyncio.gather(*(send() for _ in range(senders)))
    return started, time.monotonic()


async def _paced(layer: BaseChannelLayer, messages: int, pause: float) -> tuple[float, float]:
    """The same; the first messages are not timed, since the reference gets going slowly."""
    await layer.group_send("nobody", MESSAGE)
    started = time.monotonic()
    for number in range(messages):
        await asyncio.sleep(pause)
        sent = time.monotonic() if number >= _UNTIMED else 0
        await layer.group_send(GROUP, {**MESSAGE, "number": number, "sent": sent})
    return started, time.monotonic()


def main() -> None:
    arguments = parser()
    arguments.add_argument("--members", type=int, required=True)
    arguments.add_argument("--messages", type=int, required=True)
    arguments.add_argument("--senders", type=int, default=1)
    arguments.add_argument("--pause", type=float, help="seconds before each message")
    options = arguments.parse_args()
    layer = make_layer(options.layer, options.url)
    messages: int = options.messages
    members = Members(
        layer=options.layer, url=options.url, members=options.members, messages=messages
    )
    if options.pause is None:
        started, ended = uvloop.run(_at_once(layer, options.senders, messages))
    else:
        started, ended = uvloop.run(_paced(layer, messages, options.pause))
    found: dict[str, Any] = members.found()
    delivered = options.members * messages - found["lost"]
    say(
        **found,
        publishes=messages / (ended - started),
        deliveries=delivered / (found["last"] - started),
    )


if __name__ == "__main__":
    main()
