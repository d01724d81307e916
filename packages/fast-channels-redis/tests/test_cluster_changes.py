"""Both layers while slots of a Cluster move, and primaries die."""

import asyncio

import pytest
from cluster_traffic import (
    Traffic,
    cut_replication,
    group_at,
    inbox_of,
    key_of_group,
    kill,
    traffic,
)
from redis_layers import AnyLayer, LayerFactory, member, nothing_waits, receive, soon, until
from redis_servers import Cluster, slot_of

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels_redis import RedisChannelLayer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def sender(redis_cluster: Cluster, connect_layer: LayerFactory) -> AnyLayer:
    return connect_layer([redis_cluster.url])


@pytest.fixture
def receiver(redis_cluster: Cluster, connect_layer: LayerFactory) -> AnyLayer:
    return connect_layer([redis_cluster.url])


def check(flow: Traffic, layer: AnyLayer, *, gaps: int) -> None:
    assert len(flow.got) == len(set(flow.got))
    # What may have been delivered, or not, may also be late: when a frozen server goes on.
    certain = [number for number in flow.got if number not in flow.failed]
    assert certain == sorted(certain)
    assert flow.gaps == gaps
    assert not flow.lost or flow.gaps
    if isinstance(layer, RedisChannelLayer):
        assert not flow.failed


async def test_the_slot_of_an_inbox_moves(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    slot = slot_of(await inbox_of(receiver))
    is_queue = isinstance(receiver, RedisChannelLayer)
    for _ in range(3):
        async with traffic(sender, receiver, "news") as flow:
            await asyncio.to_thread(redis_cluster.migrate_slot, slot)
            await flow.goes_on()
            if not is_queue:
                await flow.told_of_gap()
        check(flow, receiver, gaps=0 if is_queue else 1)
        assert not (is_queue and flow.lost)


async def test_the_slot_of_a_group_moves(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    slot = slot_of(key_of_group(receiver, "news"))
    is_queue = isinstance(receiver, RedisChannelLayer)
    async with traffic(sender, receiver, "news") as flow:
        await asyncio.to_thread(redis_cluster.migrate_slot, slot)
        await flow.goes_on()
        if not is_queue:
            await flow.told_of_gap()
    check(flow, receiver, gaps=0 if is_queue else 1)
    assert not (is_queue and flow.lost)


async def test_a_slot_that_is_half_way(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    """Its keys are at the target, which has them asked for with ASKING only."""
    slot = slot_of(await inbox_of(receiver))
    source = redis_cluster.primary_of(slot)
    target = next(
        node
        for node in redis_cluster.nodes
        if node is not source and node.execute("ROLE")[0] == "master"
    )
    async with traffic(sender, receiver, "news") as flow:
        await asyncio.to_thread(redis_cluster.start_migration, slot, target)
        await flow.goes_on()
        await asyncio.to_thread(redis_cluster.move_keys, slot, target)
        await flow.goes_on()
        await asyncio.to_thread(redis_cluster.finish_migration, slot, target)
        await flow.goes_on()
    assert flow.got == sorted(set(flow.got))
    if isinstance(receiver, RedisChannelLayer):
        assert not flow.lost
        assert not flow.gaps


async def test_a_primary_hands_over_to_its_replica(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    slot = slot_of(await inbox_of(receiver))
    async with traffic(sender, receiver, "news") as flow:
        await asyncio.to_thread(redis_cluster.failover, slot)
        await flow.goes_on()
    assert flow.got == sorted(set(flow.got))
    assert flow.gaps <= 1
    assert not flow.lost or flow.gaps
    if isinstance(receiver, RedisChannelLayer):
        assert not flow.lost


async def test_the_primary_of_an_inbox_is_killed(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    async with traffic(sender, receiver, "news") as flow:
        await kill(redis_cluster, await inbox_of(receiver))
        await flow.goes_on(40)
        await flow.told_of_gap()
    check(flow, receiver, gaps=1)


async def test_a_failover_is_told_once(redis_cluster: Cluster, connect_layer: LayerFactory) -> None:
    told: list[str] = []
    layer = connect_layer(
        [redis_cluster.url],
        send_timeout=30,
        on_disconnect=lambda: told.append("gone"),
        on_reconnect=lambda: told.append("back"),
    )
    channel = await member(layer, "news")
    await kill(redis_cluster, await inbox_of(layer))
    await until(lambda: "back" in told, "it is told")
    await layer.group_send("news", {"type": "news"})
    assert await receive(layer, channel, 1) == [{"type": "news"}]
    assert told == ["gone", "back"]


async def test_the_primary_of_a_group_is_killed(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    is_queue = isinstance(receiver, RedisChannelLayer)
    group = group_at(redis_cluster, receiver, await inbox_of(receiver), together=False)
    async with traffic(sender, receiver, group) as flow:
        await kill(redis_cluster, key_of_group(receiver, group))
        await flow.goes_on(40)
        if not is_queue:
            await flow.told_of_gap()
    check(flow, receiver, gaps=0 if is_queue else 1)
    assert not (is_queue and flow.lost)


async def test_a_frozen_primary_is_left_for_its_replica(
    redis_cluster: Cluster, connect_layer: LayerFactory
) -> None:
    sender, receiver = (
        connect_layer([redis_cluster.url], liveness_timeout=2, send_timeout=30) for _ in range(2)
    )
    slot = slot_of(await inbox_of(receiver))
    async with traffic(sender, receiver, "news") as flow:
        old = redis_cluster.primary_of(slot)
        old.freeze()
        try:
            await flow.goes_on(20)
            await flow.told_of_gap()
        finally:
            old.thaw()
        await flow.goes_on()
    check(flow, receiver, gaps=1)


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_messages_that_no_replica_got(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    inbox = await inbox_of(receiver)
    async with traffic(sender, receiver, "news") as flow:
        cut_replication(redis_cluster, inbox)
        await flow.goes_on()
        await kill(redis_cluster, inbox)
        await flow.goes_on()
        await flow.told_of_gap()
    check(flow, receiver, gaps=1)


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_a_member_that_no_replica_got(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    group = group_at(redis_cluster, receiver, await inbox_of(receiver), together=False)
    key = key_of_group(receiver, group)
    cut_replication(redis_cluster, key)
    async with traffic(sender, receiver, group) as flow:
        await kill(redis_cluster, key)
        await flow.goes_on()
        await flow.told_of_gap()
    check(flow, receiver, gaps=1)


@pytest.mark.parametrize("layer_class", [RedisChannelLayer], ids=["queue"])
async def test_the_next_primary_confirms_nothing_for_the_last(
    receiver: AnyLayer, redis_cluster: Cluster, connect_layer: LayerFactory
) -> None:
    sender = connect_layer([redis_cluster.url], wait_replicas=1, send_timeout=30)
    channel, inbox = await receiver.new_channel(), await inbox_of(receiver)
    await sender.send(channel, {"type": "first"})
    cut_replication(redis_cluster, inbox)
    sending = asyncio.create_task(sender.send(channel, {"type": "second"}))
    assert [message["type"] for message in await receive(receiver, channel, 2)] == [
        "first",
        "second",
    ]
    await kill(redis_cluster, inbox)
    # It has no replica, and it had not got the message: it was sent to it once more.
    with pytest.raises(ChannelLayerUnavailable, match="0 of 1 replicas confirmed"):
        await sending
    assert redis_cluster.node_for(inbox).execute("XLEN", inbox) >= 1
    await nothing_waits(receiver, receiver, channel)


async def test_a_general_channel_moves_with_what_waits_in_it(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    slot = slot_of("asgi:general:jobs")
    waiting = asyncio.create_task(soon(receiver.receive("jobs")))
    await sender.send("jobs", {"type": "job", "number": 0})
    assert await waiting == {"type": "job", "number": 0}
    for number in range(1, 4):
        await sender.send("jobs", {"type": "job", "number": number})
    await asyncio.to_thread(redis_cluster.migrate_slot, slot)
    numbers = [message["number"] for message in await receive(receiver, "jobs", 3)]
    assert numbers == [1, 2, 3]


async def test_a_claim_survives_a_move_and_a_failover(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    slot = slot_of("asgi:general:jobs")
    await sender.send("jobs", {"type": "job"})
    async with receiver.claim("jobs") as message:
        assert message == {"type": "job"}
        await asyncio.to_thread(redis_cluster.migrate_slot, slot)
    await sender.send("jobs", {"type": "another"})
    async with receiver.claim("jobs") as message:
        assert message == {"type": "another"}
        redis_cluster.primary_of(slot).execute("WAIT", 1, 5000)
        await kill(redis_cluster, "asgi:general:jobs")
    key = "asgi:general:jobs"
    assert redis_cluster.node_for(key).execute("XLEN", key) == 0


async def test_giving_up_while_nobody_serves_a_slot_leaves_nothing_behind(
    sender: AnyLayer, receiver: AnyLayer, redis_cluster: Cluster
) -> None:
    channel = await receiver.new_channel()
    inbox = await inbox_of(receiver)
    await sender.send(channel, {"type": "before"})
    old = await asyncio.to_thread(redis_cluster.kill_primary_of, slot_of(inbox))
    calls = [asyncio.create_task(sender.send(channel, {"type": "given up"})) for _ in range(100)]
    for call in calls:
        await asyncio.sleep(0)
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(
        isinstance(outcome, asyncio.CancelledError | ChannelLayerUnavailable)
        for outcome in outcomes
    )
    await asyncio.to_thread(redis_cluster.wait_for_failover, slot_of(inbox), old)
    sending = asyncio.create_task(_send_until_cancelled(sender, channel))
    while await soon(receiver.receive(channel)) != {"type": "after"}:
        pass
    sending.cancel()
    await asyncio.wait([sending])
    for number in range(50):
        await sender.send(channel, {"type": "number", "number": number})
    numbers: list[int] = []
    while 49 not in numbers:
        message = await soon(receiver.receive(channel))
        assert message["type"] in ("number", "after")
        numbers += [message["number"]] if message["type"] == "number" else []
    assert numbers == list(range(50))


async def _send_until_cancelled(layer: AnyLayer, channel: str) -> None:
    """Its process may not listen at the new primary yet."""
    while True:
        try:
            await layer.send(channel, {"type": "after"})
        except ChannelLayerUnavailable:
            pass
        await asyncio.sleep(0.05)


async def test_members_can_be_added_while_a_shard_fails_over(
    redis_cluster: Cluster, connect_layer: LayerFactory
) -> None:
    patient = connect_layer([redis_cluster.url], send_timeout=30)
    await patient.new_channel()
    group = "news"
    slot = slot_of(key_of_group(patient, group))
    old = await asyncio.to_thread(redis_cluster.kill_primary_of, slot)
    joining = asyncio.create_task(member(patient, group))
    await asyncio.to_thread(redis_cluster.wait_for_failover, slot, old)
    channel = await soon(joining)
    await patient.group_send(group, {"type": "news"})
    assert await receive(patient, channel, 1) == [{"type": "news"}]
