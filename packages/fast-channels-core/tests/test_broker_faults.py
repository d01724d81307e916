"""A broker that goes away, comes back, freezes: what callers get, and what members are told."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import pytest
from tcp_broker import Broker, MakeLayer, TcpLayer, joined, message, numbers, reached

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers._mailbox import Mailbox

Settle = Callable[[], Awaitable[None]]
PassTime = Callable[[float], None]


class GapMailbox(Mailbox):
    """As that of a consumer."""

    takes_gaps = True

    async def types(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            return [(await self.receive())["type"] for _ in range(count)]


async def gap_mailbox(layer: TcpLayer, *groups: str) -> GapMailbox:
    mailbox = GapMailbox()
    await layer.open_mailbox(mailbox)
    for group in groups:
        await layer.group_add(group, mailbox.name)
    return mailbox


# Calls while the broker is away.


async def test_what_is_sent_while_the_broker_is_away_arrives_when_it_is_back(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer()
    members = [(layer, await joined(layer, "room")) for layer in (here, there)]
    await broker.stop()
    await reached(lambda: not any(layer.connections[0].link for layer in (here, there)))
    calls = [
        asyncio.create_task(here.group_send("room", message(1))),
        asyncio.create_task(here.send("tasks", message(2))),
    ]
    joining = asyncio.create_task(joined(there, "new"))
    done, _ = await asyncio.wait([*calls, joining], timeout=0.1)
    assert not done
    await broker.start()
    await asyncio.gather(*calls)
    # Whether both processes were back when it was sent is chance: hence the gap.
    await reached(lambda: len(broker.groups.get("room", ())) == 2)
    await here.group_send("room", message(3))
    for layer, channel in members:
        received = await numbers(layer, channel, 1)
        if received == [1]:
            received = await numbers(layer, channel, 1)
        assert received == [3]
    assert await numbers(there, "tasks", 1) == [2]
    newcomer = await joining
    await here.group_send("new", message(4))
    assert await numbers(there, newcomer, 1) == [4]


@pytest.mark.parametrize("fault", ["stopped", "frozen", "refusing"])
async def test_calls_fail_after_send_timeout_with_the_reason(
    broker: Broker, make_layer: MakeLayer, fault: str
) -> None:
    layer, there = make_layer(send_timeout=0.1), make_layer()
    own, other = await layer.new_channel(), await there.new_channel()
    reason = ": the test broker is away$"
    if fault == "stopped":
        await broker.stop()
        await reached(lambda: layer.connections[0].link is None)
    elif fault == "frozen":
        broker.freeze()
        reason = "$"
    else:
        reason = ": [a-z]* was refused$"
        for command in ("publish", "subscribe", "send", "push", "flush"):
            broker.refuse(command, 1000)
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def took(call: Awaitable[object]) -> float:
        with pytest.raises(ChannelLayerUnavailable, match=rf"within 0\.1 s{reason}"):
            await call
        return loop.time() - began

    durations = await asyncio.gather(
        took(layer.group_send("room", message(1))),
        took(layer.send("tasks", message(1))),
        took(layer.send(other, message(1))),
        took(layer.group_add("room", own)),
        took(layer.group_discard("room", other)),
    )
    assert min(durations) >= 0.1
    assert await took(layer.flush()) >= 0.2
    # What concerns this process alone does not ask the broker.
    await layer.send(own, message(2))
    await layer.group_discard("room", own)
    assert await numbers(layer, own, 1) == [2]
    await layer.new_channel()
    await layer.close_channel(own)
    broker.thaw()


async def test_a_broker_that_was_never_there_is_an_error_with_the_reason(
    broker: Broker, make_layer: MakeLayer
) -> None:
    await broker.stop()
    layer = make_layer(send_timeout=0.05)
    with pytest.raises(ChannelLayerUnavailable, match=r"within 0\.05 s: .*Connect call failed"):
        await layer.new_channel()
    await broker.start()
    channel = await joined(layer, "room")
    await layer.group_send("room", message(1))
    assert await numbers(layer, channel, 1) == [1]


async def test_what_may_have_been_done_is_not_done_again(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    channel = await joined(layer, "room")
    hold = broker.hold("publish")
    sending = asyncio.create_task(layer.group_send("room", message(1)))
    await hold.arrived()
    await broker.cut()
    with pytest.raises(ChannelLayerUnavailable, match="broke; it may have been done"):
        await sending
    hold.release()
    await layer.group_send("room", message(2))
    assert await numbers(layer, channel, 1) == [2]


async def test_a_frozen_broker_delays_what_was_sent_in_time(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer()
    channel = await joined(here, "room")
    await there.new_channel()
    broker.freeze()
    sending = [asyncio.create_task(there.group_send("room", message(n))) for n in range(10)]
    done, _ = await asyncio.wait(sending, timeout=0.05)
    assert not done
    broker.thaw()
    await asyncio.gather(*sending)
    assert await numbers(here, channel, 10) == list(range(10))


# Gaps.


async def test_every_member_is_told_once_of_every_gap(
    broker: Broker, make_layer: MakeLayer
) -> None:
    here, there = make_layer(), make_layer()
    mailboxes = [await gap_mailbox(here, "room", "other") for _ in range(3)]
    mailboxes.append(await gap_mailbox(here))
    elsewhere = await gap_mailbox(there, "room")
    for incident in range(3):
        if incident == 2:
            await broker.stop()
            await asyncio.sleep(0.05)
            await broker.start()
        else:
            await broker.cut()
        for mailbox in (*mailboxes, elsewhere):
            assert await mailbox.types(1) == ["layer.gap"]
        # By then the groups are subscribed again.
        assert {group: len(links) for group, links in broker.groups.items()} == {
            "room": 2,
            "other": 1,
        }
        await there.group_send("room", message(incident))
        for mailbox in (*mailboxes[:3], elsewhere):
            assert await mailbox.types(1) == ["test.message"]
    assert not any(len(mailbox) for mailbox in (*mailboxes, elsewhere))


async def test_a_gap_comes_before_what_is_received_after_it(
    broker: Broker, make_layer: MakeLayer
) -> None:
    layer = make_layer()
    mailbox = await gap_mailbox(layer, "room")
    link = layer.connections[0].link
    await broker.cut()
    await reached(lambda: layer.connections[0].link is not link)
    await layer.group_send("room", message(1))
    assert await mailbox.types(2) == ["layer.gap", "test.message"]


async def test_a_gap_reaches_a_process_that_runs_for_long(
    broker: Broker, make_layer: MakeLayer, pass_time: PassTime
) -> None:
    layer = make_layer(expiry=10)
    mailbox = await gap_mailbox(layer)
    pass_time(1000)
    await broker.cut()
    assert await mailbox.types(1) == ["layer.gap"]


async def test_a_gap_is_neither_too_old_nor_too_large_nor_one_too_many(
    broker: Broker, make_layer: MakeLayer, pass_time: PassTime
) -> None:
    layer = make_layer(expiry=10, capacity=1, max_message_bytes=15)
    mailbox = await gap_mailbox(layer)
    await layer.send(mailbox.name, {"type": "t"})
    await broker.cut()
    await reached(lambda: len(mailbox) == 2)
    pass_time(1000)
    assert await mailbox.types(1) == ["layer.gap"]


async def test_receivers_that_know_no_gaps_get_none(broker: Broker, make_layer: MakeLayer) -> None:
    layer = make_layer()
    mailbox = await gap_mailbox(layer)
    channel = await joined(layer, "room")
    await broker.cut()
    await mailbox.types(1)
    await layer.group_send("room", message(1))
    assert await numbers(layer, channel, 1) == [1]


async def test_joining_a_group_of_this_process_while_the_broker_is_away(
    broker: Broker, make_layer: MakeLayer
) -> None:
    """It needs no broker; what is missed by then is told as a gap."""
    layer = make_layer(send_timeout=0.1)
    await joined(layer, "room")
    await broker.stop()
    mailbox = await gap_mailbox(layer, "room")
    await broker.start()
    assert await mailbox.types(1) == ["layer.gap"]
    await layer.group_send("room", message(1))
    assert await mailbox.types(1) == ["test.message"]


async def test_a_connection_that_breaks_all_the_time_mutes_nobody(
    broker: Broker, make_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    layers = [make_layer(linger=0, capacity=10_000) for _ in range(2)]
    mailboxes = [await gap_mailbox(layer, "room") for layer in layers]
    broker.delay = lambda: random.choice((0, 0.001))
    cuts = 0

    async def cut_often() -> None:
        nonlocal cuts
        while cuts < 40:
            await asyncio.sleep(random.uniform(0, 0.02))
            await broker.cut()
            cuts += 1

    async def visit(layer: TcpLayer) -> None:
        while cuts < 40:
            channel = await joined(layer, random.choice(("room", "other")))
            try:
                await layer.group_send("room", message(0))
            except ChannelLayerUnavailable as error:
                assert "may have been done" in str(error)  # noqa: PT017  # else it may not fail
            await layer.close_channel(channel)

    await asyncio.gather(cut_often(), *(visit(layer) for layer in layers for _ in range(3)))
    broker.delay = lambda: 0
    await reached(lambda: {name: len(all_) for name, all_ in broker.groups.items()} == {"room": 2})
    for layer, mailbox in zip(layers, mailboxes, strict=True):
        while len(mailbox):
            await mailbox.types(1)
        await layer.group_send("room", message(1))
        assert await mailbox.types(1) == ["test.message"]
        mailboxes[-1].clear()
    await reached(lambda: all(layer.nodes[0].groups == ["room"] for layer in layers))
    assert not caplog.records
