"""Whose a message is: the sender keeps its own, and every receiver gets one of its own."""

import copy

from fast_channels.types import Message
from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._layers import Layers, numbered


class OwnershipTier(SuiteBase):
    """No two of sender and receivers share a value that can be changed."""

    @layer_test("core")
    async def test_the_senders_message_stays_as_it_was(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        sent = _nested()
        for send, target in ((layer.send, channel), (layer.group_send, "group")):
            await layers.soon(send(target, sent))
            await layers.receive(layer, channel, 1)
            assert sent == _nested(), f"sending {_nested()!r} has made the sender's dict {sent!r}"

    @layer_test("core")
    async def test_what_a_sender_changes_afterwards_no_receiver_sees(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layers.member(layer, "group")
        for flat in (True, False):
            for send, target in ((layer.send, channel), (layer.group_send, "group")):
                sent = numbered(1) if flat else _nested()
                before = copy.deepcopy(sent)
                await layers.soon(send(target, sent))
                _spoil(sent)
                received = await layers.receive(layer, channel, 1)
                assert received == [before], f"{before!r} was sent, {received!r} arrived"

    @layer_test("core")
    async def test_what_a_receiver_changes_nobody_else_sees(self, layers: Layers) -> None:
        layer = layers.make()
        members = [await layers.member(layer, "group") for _ in range(3)]
        for sent in (numbered(1), _nested(), {"type": "websocket.send", "text": "a frame"}):
            before = copy.deepcopy(sent)
            await layers.soon(layer.group_send("group", sent))
            for member in members:
                (received,) = await layers.receive(layer, member, 1)
                assert received == before, f"{before!r} was sent, a member got {received!r}"
                _spoil(received)
            assert sent == before, f"receivers have made the sender's dict {sent!r}"

    @layer_test("core")
    async def test_a_message_sent_twice_arrives_as_two(self, layers: Layers) -> None:
        layer = layers.make()
        channel = await layer.new_channel()
        sent = _nested()
        for _ in range(2):
            await layers.soon(layer.send(channel, sent))
        one, other = await layers.receive(layer, channel, 2)
        _spoil(one)
        assert other == _nested(), f"changing one message has made the other one {other!r}"


def _nested() -> Message:
    return {"type": "nested", "list": [1, {"tags": ["a"]}], "dict": {"inner": {"x": 1}}}


def _spoil(message: Message) -> None:
    """Change a message in every depth."""
    if "list" in message:
        message["list"][1]["tags"].append("spoilt")
        message["list"].append("spoilt")
        message["dict"]["inner"]["x"] = "spoilt"
    message["spoilt"] = True
    del message["type"]
