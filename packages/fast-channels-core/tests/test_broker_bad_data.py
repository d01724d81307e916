"""What anybody can write to a broker: it is dropped and counted, and ends nothing."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tcp_broker import Broker, MakeLayer, TcpLayer, joined, message, numbers, reached

from fast_channels.exceptions import MessageDecodeError
from fast_channels.serializers import MessageSerializer, register_serializer
from fast_channels.types import Message

Counted = Callable[[], dict[str, int]]
pack = msgspec.msgpack.encode

DEEP = b"\x91" * 100_000
OTHER_NODE = "0123456789abcdef"

NO_PARCELS = [
    b"",
    b"\xc1",
    b"\x80",
    DEEP,
    b"\x94\xa1l\xa1g\xa1c" + DEEP,  # more after a Leave, too deep to skip
    pack([]),
    pack(["x", 1]),
    pack(["d", "a.b!c"]),
    pack(["d", 1, b"data"]),
    pack(["k", "one"]),
    pack(["k", 2**64 - 1])[:-1],
    pack(["j", "room", "a.b!c", OTHER_NODE]),
    pack({"type": "j"}),
    # What no layer would send: names that are none, which a backend might put into a command.
    pack(["j", "a b", "a.b!c", OTHER_NODE, 1]),
    pack(["j", "room\r\nFLUSHALL", "a.b!c", OTHER_NODE, 1]),
    pack(["j", "room\n", "a.b!c", OTHER_NODE, 1]),
    pack(["j", "r" * 100, "a.b!c", OTHER_NODE, 1]),
    pack(["j", "", "a.b!c", OTHER_NODE, 1]),
    pack(["j", "rööm", "a.b!c", OTHER_NODE, 1]),
    pack(["j", "room", "a.b!c", "x\r\nFLUSHALL", 1]),
    pack(["j", "room", "a.b!c", "", 1]),
]


@pytest.mark.parametrize("data", NO_PARCELS, ids=range(len(NO_PARCELS)))
async def test_an_inbox_drops_and_counts_what_no_layer_sent(
    broker: Broker, make_layer: MakeLayer, counted: Counted, data: bytes
) -> None:
    layer = make_layer()
    channel = await joined(layer, "room")
    broker.to_inbox(layer.nodes[0].id, data)
    await reached(lambda: counted() == {"event.undecodable": 1})
    await layer.group_send("room", message(1))
    assert await numbers(layer, channel, 1) == [1]
    assert layer.nodes[0].groups == ["room"]


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", DEEP, pack([1]), pack({"type": 1})])
async def test_members_never_see_bytes_that_are_no_message(
    broker: Broker, make_layer: MakeLayer, counted: Counted, data: bytes
) -> None:
    layer = make_layer()
    channels = [await joined(layer, "room") for _ in range(2)]
    broker.to_group("room", data)
    broker.to_inbox(layer.nodes[0].id, pack(["d", channels[0], data]))
    await reached(lambda: counted() == {"event.undecodable": 2})
    await layer.group_send("room", message(1))
    for channel in channels:
        assert await numbers(layer, channel, 1) == [1]


async def test_forged_wishes_for_channels_that_are_not_here_do_nothing(
    broker: Broker, make_layer: MakeLayer, counted: Counted
) -> None:
    layer = make_layer(linger=0)
    channel = await layer.new_channel()
    for parcel in (
        ["j", "room", "a.b!c", OTHER_NODE, 1],
        ["l", "room", "a.b!c"],
        ["l", "room", channel],
        ["l", "no group", "no channel"],
        ["k", 1],
        ["k", -1],
        ["k", 2**63],
    ):
        broker.to_inbox(layer.nodes[0].id, pack(parcel))
    broker.to_inbox(layer.nodes[0].id, pack(["d", "a.b!c", b"data"]))
    await reached(lambda: counted().get("channel.gone") == 1)
    await layer.send(channel, message(1))
    assert await numbers(layer, channel, 1) == [1]
    assert not broker.commands["subscribe"]


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    ).map(pack)
    | st.lists(
        st.sampled_from(["d", "j", "l", "k", "room", "a.b!c", OTHER_NODE, 1, b""]), max_size=6
    ).map(pack)
)
async def test_nothing_that_comes_raises(data: bytes) -> None:
    layer = UnconnectedLayer()
    try:
        channel = await joined(layer, "room")
        node = layer.nodes[0]
        node.deliver(data)
        node.deliver_to_group("room", data)
        node.deliver(pack(["d", channel, data]))
    finally:
        await layer.close()


class UnconnectedLayer(TcpLayer):
    """Does without a broker, for what happens before anything is sent."""

    def __init__(self) -> None:
        super().__init__(0)

    def make_connection(self, node: Any) -> Any:
        self.nodes.append(node)
        return AnsweringConnection()


class AnsweringConnection:
    away = ()

    async def done(self, *_: object) -> bool:
        return True

    connect = close = subscribe = unsubscribe = publish = send_to_node = done


class Moody(MessageSerializer):
    """An application's own, with errors that no contract foresees."""

    def encode(self, message: Mapping[str, Any]) -> bytes:
        return pack(message)

    def decode(self, data: bytes) -> Message:
        if data == b"lookup":
            raise LookupError("no such thing")
        if data == b"decode":
            raise MessageDecodeError("not a message")
        decoded: Message = msgspec.msgpack.decode(data)
        return decoded


async def test_a_serializer_that_raises_anything_ends_nothing(
    broker: Broker, make_layer: MakeLayer, counted: Counted, caplog: pytest.LogCaptureFixture
) -> None:
    register_serializer("moody", Moody)
    layer = make_layer(serializer_format="moody")
    channel = await joined(layer, "room")
    waiting = asyncio.create_task(layer.receive("tasks"))
    await reached(lambda: broker.commands["pull"])
    for data in (b"lookup", b"decode"):
        broker.to_group("room", data)
        broker.to_inbox(layer.nodes[0].id, pack(["d", channel, data]))
        await layer.connections[0].push("tasks", data, 100, 60)
    await reached(lambda: counted() == {"event.undecodable": 6})
    await layer.group_send("room", message(1))
    await layer.send("tasks", message(2))
    assert await numbers(layer, channel, 1) == [1]
    assert (await waiting)["number"] == 2
    assert "the serializer raised LookupError, not MessageDecodeError" in caplog.text


# Encryption.


async def test_keys_are_rotated_without_losing_a_message(make_layer: MakeLayer) -> None:
    pytest.importorskip("cryptography")
    stages = [["old"], ["old", "new"], ["new", "old"], ["new"]]
    for before, after in itertools.pairwise(stages):
        here = make_layer(symmetric_encryption_keys=before)
        there = make_layer(symmetric_encryption_keys=after)
        members = [(layer, await joined(layer, "room")) for layer in (here, there)]
        await here.group_send("room", message(1))
        await there.group_send("room", message(2))
        for layer, channel in members:
            assert await numbers(layer, channel, 2) == [1, 2]
        (_, here_channel), (_, there_channel) = members
        await here.send(there_channel, message(3))
        await there.send(here_channel, message(4))
        assert await numbers(here, here_channel, 1) == [4]
        assert await numbers(there, there_channel, 1) == [3]
        await here.send("tasks", message(5))
        assert await numbers(there, "tasks", 1) == [5]
        await here.close()
        await there.close()


async def test_who_has_another_key_or_none_neither_reads_nor_is_heard(
    broker: Broker, make_layer: MakeLayer, counted: Counted
) -> None:
    pytest.importorskip("cryptography")
    right = make_layer(symmetric_encryption_keys=["right"])
    wrong = make_layer(symmetric_encryption_keys=["wrong"])
    plain = make_layer()
    members = [(layer, await joined(layer, "room")) for layer in (right, wrong, plain)]
    for layer, _ in members:
        await layer.group_send("room", message(1))
    await reached(lambda: counted() == {"event.undecodable": 6})
    for layer, channel in members:
        assert await numbers(layer, channel, 1) == [1]
        for other in (right, wrong, plain):
            await other.send(channel, message(2))
    await reached(lambda: counted() == {"event.undecodable": 12})
    for layer, channel in members:
        assert await numbers(layer, channel, 1) == [2]
    await plain.send("tasks", message(3))
    await wrong.send("tasks", message(4))
    await right.send("tasks", message(5))
    assert await numbers(right, "tasks", 1) == [5]
    assert counted() == {"event.undecodable": 14}


async def test_the_broker_sees_no_plain_text(broker: Broker, make_layer: MakeLayer) -> None:
    pytest.importorskip("cryptography")
    here = make_layer(symmetric_encryption_keys=["key"])
    there = make_layer(symmetric_encryption_keys=["key"])
    channel = await joined(there, "room")
    await here.new_channel()
    holds = [broker.hold(command) for command in ("publish", "send", "push")]
    calls = [
        asyncio.create_task(here.group_send("room", message(1, text="a secret"))),
        asyncio.create_task(here.send(channel, message(1, text="a secret"))),
        asyncio.create_task(here.send("tasks", message(1, text="a secret"))),
    ]
    for hold in holds:
        await hold.arrived()
        assert hold.frames
        assert b"secret" not in repr(hold.frames).encode()
        hold.release()
    await asyncio.gather(*calls)
