"""What consumers of the pub/sub layer are told when there are several servers."""

import asyncio
from collections.abc import Iterator

import pytest
from cluster_traffic import Listener
from redis_layers import AnyLayer, LayerFactory, soon
from redis_servers import Proxy
from redis_servers.fixtures import ServerFactory

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels_redis import RedisPubSubChannelLayer
from fast_channels_redis._sharding import shard_of

pytestmark = pytest.mark.parametrize("layer_class", [RedisPubSubChannelLayer])

GROUPS = [
    next(name for n in range(100) if shard_of(f"asgi__group__{(name := f'g{n}')}", 2) == server)
    for server in range(2)
]
"""One on each server."""


@pytest.fixture
def links(own_server: ServerFactory) -> Iterator[list[Proxy]]:
    with Proxy(own_server().address) as first, Proxy(own_server().address) as second:
        yield [first, second]


async def consumer(layer: AnyLayer) -> Listener:
    """A channel in both groups that is told of gaps, as a consumer's is."""
    mailbox = Listener()
    await layer.open_mailbox(mailbox)
    for group in GROUPS:
        await layer.group_add(group, mailbox.name)
    return mailbox


async def gaps_before_a_message(layer: AnyLayer, group: str, mailbox: Listener) -> int:
    """Send to the group until something arrives, and count the gaps up to then."""
    gaps = 0
    while True:
        try:
            await layer.group_send(group, {"type": "message"})
            async with asyncio.timeout(0.2):
                while (await mailbox.receive())["type"] == "layer.gap":
                    gaps += 1
        except (ChannelLayerUnavailable, TimeoutError):
            continue  # It was on its way when the connection broke, or came before this one.
        return gaps


async def gap(mailbox: Listener) -> None:
    """Return when it is told; a message that was sent twice may come before."""
    while (await mailbox.receive())["type"] != "layer.gap":
        pass


async def test_servers_that_go_and_come_together_are_one_gap(
    connect_layer: LayerFactory, links: list[Proxy]
) -> None:
    layer = connect_layer([link.url for link in links], send_timeout=20, liveness_timeout=20)
    mailbox = await consumer(layer)
    for _ in range(2):
        for link in links:
            link.refuse()
        links[0].accept()
        assert await soon(gaps_before_a_message(layer, GROUPS[0], mailbox)) == 0
        links[1].accept()
        await soon(gap(mailbox))
        for group in GROUPS:
            assert await soon(gaps_before_a_message(layer, group, mailbox)) == 0


async def test_a_gap_is_told_though_another_server_stays_away(
    connect_layer: LayerFactory, links: list[Proxy]
) -> None:
    layer = connect_layer([link.url for link in links], send_timeout=20, liveness_timeout=0.5)
    mailbox = await consumer(layer)
    for link in links:
        link.refuse()
    links[0].accept()
    await soon(gap(mailbox))
