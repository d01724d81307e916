"""The consumer with which the conformance suite listens to a layer."""

import asyncio

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers._listener import listening


class NeverJoins(InMemoryChannelLayer):
    async def group_add(self, group: str, channel: str) -> None:
        await asyncio.Event().wait()


class CannotJoin(InMemoryChannelLayer):
    async def group_add(self, group: str, channel: str) -> None:
        raise OSError("no broker")


async def test_what_is_heard_is_noted() -> None:
    layer = InMemoryChannelLayer()
    async with asyncio.timeout(20), listening(layer, "room") as listener:
        for n in range(2):
            await layer.group_send("room", {"type": "n", "n": n})
        await listener.until("n", 2)
    assert [event["n"] for event in listener.heard] == [0, 1]


async def test_a_layer_that_never_joins_its_group_hangs_nobody() -> None:
    others = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), listening(NeverJoins(), "room"):
            pass
    assert asyncio.all_tasks() == others


async def test_why_a_layer_cannot_join_its_group_is_told() -> None:
    with pytest.raises(OSError, match="no broker"):
        async with asyncio.timeout(20), listening(CannotJoin(), "room"):
            pass
