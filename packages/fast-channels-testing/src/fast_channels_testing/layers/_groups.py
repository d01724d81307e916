"""What members of a group get."""

import asyncio

from fast_channels.exceptions import ChannelClosed
from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import layer_test
from fast_channels_testing.layers._layers import Layers, numbered, rounds
from fast_channels_testing.layers._membership import MembershipTier


class GroupsTier(MembershipTier):
    """Members, what they get, and in which order."""

    @layer_test("groups")
    async def test_a_sender_that_is_a_member_gets_its_own_message(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        await layers.soon(layer.group_send("group", numbered(1)))
        received = await layers.drain_group(layer, layer, "group", channel)
        assert received == [numbered(1)], f"expected {numbered(1)!r}, once; got {received!r}"

    @layer_test("groups")
    async def test_every_member_hears_every_sender_in_order(self, layers: Layers) -> None:
        layer = layers.make(capacity=200)
        heard = await _hear_several_senders(layers, layer)
        for numbers in heard:
            for sender in range(4):
                of_sender = [number for who, number in numbers if who == sender]
                assert of_sender == list(range(20)), (
                    f"a member got {of_sender} of sender {sender}, expected 0 to 19 in order"
                )

    @layer_test("groups", needs="total_order")
    async def test_all_members_hear_all_senders_in_one_order(self, layers: Layers) -> None:
        layer = layers.make(capacity=200)
        first, *others = await _hear_several_senders(layers, layer)
        for other in others:
            assert other == first, f"one member got {first}, another one {other}"

    @layer_test("groups")
    async def test_a_full_member_misses_messages_and_the_others_do_not(
        self, layers: Layers
    ) -> None:
        layer = layers.make(capacity=5)
        before, full, after = [await layers.member(layer, "group") for _ in range(3)]
        for number in range(12):
            await layers.soon(
                layer.group_send("group", numbered(number)),
                "group_send to return, whether or not a member is full",
            )
            for channel in (before, after):
                received = await layers.numbers(layer, channel, 1)
                assert received == [number], f"a member with room got {received}, not {number}"
        received = await layers.numbers(layer, full, 5)
        assert received == list(range(5)), f"the full member held {received}, expected 0 to 4"
        await layers.soon(layer.group_send("group", numbered(12)))
        later = await layers.drain_group(layer, layer, "group", full)
        assert later == [numbered(12)], (
            f"the full member made room, then {numbered(12)!r} was sent: it got {later!r}"
        )

    @layer_test("groups")
    async def test_members_that_close_meanwhile_disturb_nobody(self, layers: Layers) -> None:
        layer = layers.make()
        stays = await layers.member(layer, "group")

        async def hear_one_and_close(channel: str) -> None:
            await layer.receive(channel)
            await layer.close_channel(channel)
            try:
                await layer.receive(channel)
            except ChannelClosed:
                return
            raise AssertionError(f"{channel!r} was closed and has received a message")

        leaving = [
            asyncio.ensure_future(hear_one_and_close(await layers.member(layer, "group")))
            for _ in range(10)
        ]
        for number in range(20):
            if number % 2:
                closing = await layers.member(layer, "group")
                leaving.append(asyncio.ensure_future(layer.close_channel(closing)))
            await layers.soon(layer.group_send("group", numbered(number)))
            await rounds(number % 3)
        await layers.soon(asyncio.gather(*leaving), "members to hear one message and close")
        received = await layers.numbers(layer, stays, 20)
        assert received == list(range(20)), f"0 to 19 were sent, the one who stays got {received}"

    @layer_test("groups")
    async def test_a_waiting_receiver_of_each_member_gets_the_message(self, layers: Layers) -> None:
        layer = layers.make()
        members = [await layers.member(layer, "group") for _ in range(20)]
        receivers = [asyncio.ensure_future(layer.receive(channel)) for channel in members]
        await rounds(5)
        await layers.soon(layer.group_send("group", numbered(1)))
        received = await layers.soon(asyncio.gather(*receivers), "one message for each member")
        assert received == [numbered(1)] * 20

    @layer_test("groups")
    async def test_a_direct_message_to_a_member_reaches_only_it(self, layers: Layers) -> None:
        layer = layers.make()
        one, other = [await layers.member(layer, "group") for _ in range(2)]
        await layers.soon(layer.send(one, numbered(1)))
        assert await layers.numbers(layer, one, 1) == [1]
        await layers.nothing_waits(layer, layer, other)

    @layer_test("groups", needs="general_channels")
    async def test_a_group_and_a_channel_of_the_same_name_are_strangers(
        self, layers: Layers
    ) -> None:
        layer = layers.make()
        member = await layers.member(layer, "news")
        await layers.soon(layer.group_send("news", {"type": "for the group"}))
        await layers.soon(layer.send("news", {"type": "for the channel"}))
        received = await layers.drain_group(layer, layer, "news", member)
        assert received == [{"type": "for the group"}], f"the member of the group got {received!r}"
        received = await layers.drain(layer, layer, "news")
        assert received == [{"type": "for the channel"}], f"the channel got {received!r}"

    @layer_test("groups", needs="general_members")
    async def test_a_general_channel_can_be_a_member(self, layers: Layers) -> None:
        layer = layers.make()
        await layers.soon(layer.group_add("group", "jobs"))
        receivers = [asyncio.ensure_future(layer.receive("jobs")) for _ in range(2)]
        await rounds(5)
        for number in range(2):
            await layers.soon(layer.group_send("group", numbered(number)))
        received = await layers.soon(asyncio.gather(*receivers), "a message for each receiver")
        assert received == [numbered(0), numbered(1)], "each message goes to one receiver"
        await layers.soon(layer.group_discard("group", "jobs"))
        await layers.soon(layer.group_send("group", numbered(2)))
        received = await layers.drain_group(layer, layer, "group", "jobs")
        assert received == [], f"a channel that was removed from the group got {received!r}"


async def _hear_several_senders(
    layers: Layers, layer: BaseChannelLayer
) -> list[list[tuple[int, int]]]:
    """What each of three members gets while four tasks send 20 messages each: sender, number."""
    members = [await layers.member(layer, "group") for _ in range(3)]

    async def send_some(sender: int) -> None:
        for number in range(20):
            await layer.group_send("group", numbered(number, sender=sender))
            await rounds(sender)

    await layers.soon(asyncio.gather(*map(send_some, range(4))), "4 senders")
    return [
        [(message["sender"], message["n"]) for message in await layers.receive(layer, channel, 80)]
        for channel in members
    ]
