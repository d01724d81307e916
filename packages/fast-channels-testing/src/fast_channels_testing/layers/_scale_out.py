"""Several layers, as good as several processes, and real processes."""

import asyncio
from itertools import count

import pytest

from fast_channels.exceptions import ChannelClosed, ChannelFull
from fast_channels.layers import BaseChannelLayer
from fast_channels.types import Message
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers


def number(n: int, sender: int = 0) -> Message:
    return {"type": "n", "n": n, "sender": sender}


async def send_to_group(layer: BaseChannelLayer, group: str, sender: int, times: int) -> None:
    for n in range(times):
        await layer.group_send(group, number(n, sender))


def assert_each_sender_in_order(messages: list[Message], senders: int, times: int) -> None:
    for sender in range(senders):
        numbers = [message["n"] for message in messages if message["sender"] == sender]
        assert numbers == list(range(times)), f"what sender {sender} sent, in order of arrival"


class ScaleOutTier(SuiteBase):
    """Several layers, as good as several processes, and real processes."""

    # Channels.

    @layer_test("scale-out", needs="processes")
    async def test_any_process_sends_to_a_channel_of_any_other(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        channels = [await layer.new_channel() for layer in every]
        assert len(set(channels)) == 3, "channels of different processes have different names"
        for sender, layer in enumerate(every):
            for channel in channels:
                await layer.send(channel, number(0, sender))
        for layer, channel in zip(every, channels, strict=True):
            messages = await layers.receive(layer, channel, 3)
            assert sorted(message["sender"] for message in messages) == [0, 1, 2]
            await layers.nothing_waits(layer, layer, channel)

    @layer_test("scale-out", needs="processes")
    async def test_what_each_process_sends_to_a_channel_arrives_in_order(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        channel = await every[0].new_channel()

        async def send(sender: int) -> None:
            for n in range(30):
                await every[sender].send(channel, number(n, sender))

        await asyncio.gather(*map(send, range(3)))
        assert_each_sender_in_order(await layers.receive(every[0], channel, 90), 3, 30)

    @layer_test("scale-out", needs="processes")
    async def test_a_message_to_a_channel_that_another_process_has_closed_is_dropped(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        closed, other = await there.new_channel(), await there.new_channel()
        await there.close_channel(closed)
        await here.send(closed, number(1))
        await here.send(other, number(2))
        assert await layers.numbers(there, other, 1) == [2]
        await there.close()
        await here.send(other, number(3))
        with pytest.raises(ChannelClosed):
            await layers.soon(there.receive(other), "ChannelClosed")

    @layer_test("scale-out", needs=("processes", "remote_capacity"))
    async def test_a_full_channel_of_another_process_is_an_error(self, layers: Layers) -> None:
        here, there = layers.make(capacity=3), layers.make(capacity=3)
        channel = await here.new_channel()
        sent: list[int] = []

        async def send_too_many() -> None:
            for n in range(100):
                await there.send(channel, number(n))
                sent.append(n)

        with pytest.raises(ChannelFull) as caught:
            await send_too_many()
        assert caught.value.channel == channel
        assert sent == [0, 1, 2], "as many as the channel has room for"
        assert await layers.numbers(here, channel, 3) == [0, 1, 2]
        await there.send(channel, number(3))
        assert await layers.numbers(here, channel, 1) == [3]

    # Groups.

    @layer_test("scale-out", needs="processes")
    async def test_a_group_reaches_its_members_in_every_process_once(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in (*every[:2], every[0])]
        stranger = await layers.member(every[1], "another")
        # The last of them has no member.
        for sender, layer in enumerate(every):
            await layer.group_send("room", number(0, sender))
        for layer, channel in members:
            messages = await layers.receive(layer, channel, 3)
            assert sorted(message["sender"] for message in messages) == [0, 1, 2]
            await layers.nothing_waits(layer, layer, channel)
        await layers.nothing_waits(every[1], every[1], stranger)

    @layer_test("scale-out", needs="processes")
    async def test_what_each_process_sends_to_a_group_arrives_in_order(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in every]
        await asyncio.gather(*(send_to_group(every[n], "room", n, 30) for n in range(3)))
        for layer, channel in members:
            assert_each_sender_in_order(await layers.receive(layer, channel, 90), 3, 30)

    @layer_test("scale-out", needs=("processes", "total_order"))
    async def test_members_in_all_processes_see_one_order(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        members = [(layer, await layers.member(layer, "room")) for layer in every]
        await asyncio.gather(*(send_to_group(every[n], "room", n, 30) for n in range(3)))
        first, *others = [await layers.receive(layer, channel, 90) for layer, channel in members]
        for other in others:
            assert other == first

    @layer_test("scale-out", needs="processes")
    async def test_every_process_reaches_a_member_when_group_add_has_returned(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        here = every[0]
        for turn in range(30):
            # A group that is new, or one that its last member has just left.
            group = f"room-{turn}" if turn % 3 == 0 else "room"
            channel = await layers.member(here, group)
            await asyncio.gather(*(every[n].group_send(group, number(turn, n)) for n in range(3)))
            senders = set[int]()
            while len(senders) < 3:
                (message,) = await layers.receive(here, channel, 1)
                if message["n"] == turn:
                    senders.add(message["sender"])
            if turn % 2:
                await here.group_discard(group, channel)
            await here.close_channel(channel)

    @layer_test("scale-out", needs="processes")
    async def test_group_add_does_not_return_early_for_those_who_join_at_once(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()

        async def join(n: int, group: str) -> None:
            channel = await layers.member(here, group)
            await there.group_send(group, number(n))
            while await layers.numbers(here, channel, 1) != [n]:
                pass  # Others came earlier.

        for turn in range(5):
            await asyncio.gather(*(join(n, f"room-{turn}") for n in range(10)))

    @layer_test("scale-out", needs="processes")
    async def test_a_channel_that_has_left_gets_nothing_from_other_processes(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        stays, leaves = await layers.member(here, "room"), await layers.member(here, "room")
        await there.group_send("room", number(1))
        for channel in (stays, leaves):
            assert await layers.numbers(here, channel, 1) == [1]
        await here.group_discard("room", leaves)
        await there.group_send("room", number(2))
        assert await layers.numbers(here, stays, 1) == [2]
        await layers.nothing_waits(here, here, leaves)

    @layer_test("scale-out", needs="processes")
    async def test_a_full_member_hinders_none_in_any_process(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make(channel_capacity={"small.*": 2})
        full = await there.new_channel("small")
        await there.group_add("room", full)
        members = [(layer, await layers.member(layer, "room")) for layer in (here, there)]
        await send_to_group(here, "room", 0, 5)
        for layer, channel in members:
            assert await layers.numbers(layer, channel, 5) == list(range(5))
        assert await layers.numbers(there, full, 2) == [0, 1]
        await layers.nothing_waits(there, there, full)

    @layer_test("scale-out", needs="processes")
    async def test_many_channels_in_many_groups_get_what_is_theirs(self, layers: Layers) -> None:
        every = [layers.make() for _ in range(3)]
        groups = {n: f"group-{n}" for n in range(20)}
        members: list[tuple[BaseChannelLayer, str, list[int]]] = []
        for layer in every:
            for turn in range(10):
                channel, mine = await layer.new_channel(), [n for n in groups if (n + turn) % 4]
                await asyncio.gather(*(layer.group_add(groups[n], channel) for n in mine))
                members.append((layer, channel, mine))
        for sender, layer in enumerate(every):
            await asyncio.gather(
                *(layer.group_send(name, number(n, sender)) for n, name in groups.items())
            )
        for layer, channel, mine in members:
            messages = await layers.receive(layer, channel, 3 * len(mine))
            heard = sorted((message["n"], message["sender"]) for message in messages)
            assert heard == [(n, sender) for n in mine for sender in range(3)]
            await layers.nothing_waits(layer, layer, channel)

    # Members that another process adds and removes.

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_a_channel_of_another_process_is_a_member_when_group_add_has_returned(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        for turn in range(5):
            channel = await every[0].new_channel()
            await every[1].group_add(f"room-{turn}", channel)
            for sender, layer in enumerate(every):
                await layer.group_send(f"room-{turn}", number(turn, sender))
            messages = await layers.receive(every[0], channel, 3)
            assert sorted(message["sender"] for message in messages) == [0, 1, 2]

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_adding_a_channel_from_several_processes_is_adding_it_once(
        self, layers: Layers
    ) -> None:
        here, there = layers.make(), layers.make()
        channel, witness = await here.new_channel(), await layers.member(here, "room")
        await asyncio.gather(*(layer.group_add("room", channel) for layer in (here, there, here)))
        await there.group_send("room", number(1))
        assert await layers.numbers(here, channel, 1) == [1]
        await layers.nothing_waits(here, here, channel)
        await here.group_discard("room", channel)
        await there.group_send("room", number(2))
        assert await layers.numbers(here, witness, 2) == [1, 2]
        await layers.nothing_waits(here, here, channel)

    @layer_test("scale-out", needs=("processes", "remote_members"))
    async def test_another_process_removes_a_channel(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        channel, witness = [await layers.member(here, "room") for _ in range(2)]
        await there.group_discard("room", channel)

        async def has_left() -> None:
            for n in count():
                await there.group_send("room", number(n))
                assert await layers.numbers(here, witness, 1) == [n]
                if number(n) not in await layers.drain(here, here, channel):
                    return

        await layers.soon(has_left(), "a channel to leave, as another process asked for")

    # General channels.

    @layer_test("scale-out", needs=("processes", "general_channels"))
    async def test_a_general_message_goes_to_one_receiver_of_all_processes(
        self, layers: Layers
    ) -> None:
        every = [layers.make() for _ in range(3)]
        received: list[int] = []

        async def receive(layer: BaseChannelLayer) -> None:
            while (message := await layers.soon(layer.receive("jobs"), "a job"))["n"] >= 0:
                received.append(message["n"])

        receiving = [asyncio.create_task(receive(layer)) for layer in every]
        for n in range(60):
            await every[n % 3].send("jobs", number(n))
        for layer in every:
            await layer.send("jobs", number(-1))
        await asyncio.gather(*receiving)
        assert sorted(received) == list(range(60))

    @layer_test("scale-out", needs=("processes", "general_channels"))
    async def test_what_a_receiver_gives_up_another_process_gets(self, layers: Layers) -> None:
        here, there, sender = (layers.make() for _ in range(3))

        async def give_up(steps: int) -> None:
            channel = f"jobs-{steps}"
            await sender.send(channel, number(-1))
            assert await layers.numbers(here, channel, 1) == [-1]
            giving_up = asyncio.create_task(here.receive(channel))
            for _ in range(steps):
                await asyncio.sleep(0)
            await sender.send(channel, number(steps))
            giving_up.cancel()
            (got,) = await asyncio.gather(giving_up, return_exceptions=True)
            if isinstance(got, asyncio.CancelledError):
                (got,) = await layers.receive(there, channel, 1)
            assert got == number(steps)

        # All at once, because a layer may take its time for each.
        await asyncio.gather(*map(give_up, range(10)))

    # Processes that end.

    @layer_test("scale-out", needs="processes")
    async def test_closing_a_layer_ends_its_members_and_disturbs_no_other_process(
        self, layers: Layers
    ) -> None:
        leaving, *others = [layers.make() for _ in range(3)]
        left = await layers.member(leaving, "room")
        members = [(layer, await layers.member(layer, "room")) for layer in others]
        await leaving.close()
        for sender, layer in enumerate(others):
            await layer.group_send("room", number(0, sender))
            await layer.send(left, number(0))
        for layer, channel in members:
            messages = await layers.receive(layer, channel, 2)
            assert sorted(message["sender"] for message in messages) == [0, 1]

    @layer_test("scale-out", needs="processes")
    async def test_real_processes_hear_each_other(self, layers: Layers) -> None:
        here = layers.make()
        async with layers.process() as second, layers.process() as third:
            every = [here, second, third]
            members = [(layer, await layers.member(layer, "room")) for layer in every]
            await asyncio.gather(*(send_to_group(every[n], "room", n, 20) for n in range(3)))
            for layer, channel in members:
                assert_each_sender_in_order(await layers.receive(layer, channel, 60), 3, 20)
                for sender in every:
                    await layers.nothing_waits(sender, layer, channel)

    @layer_test("scale-out", needs="processes")
    async def test_a_process_that_is_killed_disturbs_no_other(self, layers: Layers) -> None:
        here, there = layers.make(), layers.make()
        async with layers.process() as crashing:
            gone = await layers.member(crashing, "room")
            members = [(layer, await layers.member(layer, "room")) for layer in (here, there)]
            await crashing.kill()
            await here.group_send("room", number(1))
            await here.send(gone, number(2))
            for layer, channel in members:
                assert await layers.numbers(layer, channel, 1) == [1]
