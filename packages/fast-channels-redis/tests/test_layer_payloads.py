"""What messages carry, and what is refused before it reaches the server."""

import secrets
from typing import Any

import pytest
from redis_layers import AnyLayer, LayerFactory, member, nothing_waits, receive, soon
from redis_servers import RedisServer

from fast_channels.exceptions import InvalidMessageError, InvalidNameError, MessageTooLarge
from fast_channels.statistics import statistics
from fast_channels.types import Message

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    0.1,
    -1.5e300,
    float("inf"),
    "",
    "grüße, 你好, 👋\u0000\r\n",
    b"",
    bytes(range(256)),
    [],
    {},
    [1, [2, [3, {"deep": [None, b"\xff"]}]]],
    {"a": {"b": {"c": "d"}}, "list": [{"x": 1}, {"x": 2}]},
]


@pytest.mark.parametrize("way", ["group", "direct", "general"])
async def test_every_value_arrives_as_it_was_sent(
    layer: AnyLayer, other: AnyLayer, way: str
) -> None:
    channel = await member(layer, "news") if way != "general" else "jobs"
    sent: list[Message] = [{"type": "value", "value": value} for value in VALUES]
    for message in sent:
        if way == "group":
            await other.group_send("news", message)
        else:
            await other.send(channel, message)
    received = await receive(layer, channel, len(sent))
    assert received == sent
    for given, got in zip(sent, received, strict=True):
        assert type(got["value"]) is type(given["value"])


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1, 2}, 1j])
async def test_what_cannot_be_carried_is_refused(layer: AnyLayer, value: object) -> None:
    channel = await member(layer, "news")
    message = {"type": "bad", "value": value}
    for attempt in (
        layer.group_send("news", message),
        layer.send(channel, message),
        layer.send("jobs", message),
    ):
        with pytest.raises(InvalidMessageError, match="value"):
            await attempt
    await nothing_waits(layer, layer, channel)


async def test_a_megabyte_is_the_limit_unless_another_is_set(
    make_layer: LayerFactory, layer: AnyLayer, redis_server: RedisServer
) -> None:
    channel = await member(layer, "news")
    large = {"type": "large", "data": secrets.token_bytes(1024 * 1024 - 100)}
    too_large = {"type": "large", "data": secrets.token_bytes(1024 * 1024)}
    received = redis_server.info("stats")["total_net_input_bytes"]
    for attempt in (
        layer.group_send("news", too_large),
        layer.send(channel, too_large),
        layer.send("jobs", too_large),
    ):
        with pytest.raises(MessageTooLarge):
            await attempt
    grown = int(redis_server.info("stats")["total_net_input_bytes"]) - int(received)
    assert grown < 100_000
    await make_layer().group_send("news", large)
    assert await receive(layer, channel, 1) == [large]

    roomy = make_layer(max_message_bytes=4 * 1024 * 1024)
    await roomy.group_send("news", too_large)
    assert await receive(layer, channel, 1) == [too_large]
    strict = make_layer(max_message_bytes=50)
    with pytest.raises(MessageTooLarge):
        await strict.group_send("news", {"type": "small", "text": "x" * 50})


@pytest.mark.parametrize("way", ["group", "direct"])
async def test_receivers_share_nothing(layer: AnyLayer, other: AnyLayer, way: str) -> None:
    first, second = await member(layer, "news"), await member(layer, "news")
    message: Message = {"type": "list", "list": [1, 2], "dict": {"a": []}}
    if way == "group":
        await other.group_send("news", message)
    else:
        await other.send(first, message)
        await other.send(second, message)
    (one,) = await receive(layer, first, 1)
    one["list"].append(3)
    one["dict"]["a"].append("changed")
    assert await receive(layer, second, 1) == [{"type": "list", "list": [1, 2], "dict": {"a": []}}]
    assert message == {"type": "list", "list": [1, 2], "dict": {"a": []}}


async def test_the_sender_may_change_its_message_when_the_call_has_returned(
    layer: AnyLayer,
) -> None:
    channel = await member(layer, "news")
    message: Message = {"type": "list", "list": [1]}
    await layer.group_send("news", message)
    await layer.send(channel, message)
    message["list"].append(2)
    assert await receive(layer, channel, 2) == [{"type": "list", "list": [1]}] * 2


async def test_names_are_checked_before_anything_is_sent(layer: AnyLayer) -> None:
    channel = await layer.new_channel()
    for attempt in (
        layer.send("no spaces", {"type": "a"}),
        layer.group_send("nor*stars", {"type": "a"}),
        layer.group_add("x" * 100, channel),
        layer.group_add("news", "general"),
        layer.receive("a!b!c"),
    ):
        with pytest.raises(InvalidNameError):
            await attempt


async def test_json_as_serializer(make_layer: LayerFactory, redis_server: RedisServer) -> None:
    layer, other = make_layer(serializer_format="json"), make_layer(serializer_format="json")
    channel = await member(layer, "news")
    message: Message = {"type": "text", "text": "ü", "list": [1, 0.5, None, {"a": True}]}
    await other.group_send("news", message)
    await other.send(channel, message)
    await other.send("jobs", message)
    ((_, fields),) = redis_server.execute("XRANGE", "asgi:general:jobs", "-", "+")
    assert fields[1].startswith("{")
    assert await receive(layer, channel, 2) == [message] * 2
    assert await receive(layer, "jobs", 1) == [message]


async def test_encryption_with_keys_that_change(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    def with_keys(*keys: str) -> AnyLayer:
        return make_layer(symmetric_encryption_keys=keys)

    before, between, after = with_keys("old"), with_keys("new", "old"), with_keys("new")
    secret = {"type": "secret", "text": "attack at dawn"}
    channel = await member(between, "news")
    for sender in (before, after):
        await sender.group_send("news", secret)
        await sender.send(channel, secret)
    assert await receive(between, channel, 4) == [secret] * 4

    await after.send("jobs", secret)
    ((_, fields),) = redis_server.execute("XRANGE", "asgi:general:jobs", "-", "+")
    assert "dawn" not in fields[1]
    assert await receive(between, "jobs", 1) == [secret]

    # What no key decrypts is dropped and counted, and nothing stops because of it.
    deaf = await member(before, "news")
    counted = statistics.snapshot().get("event.undecodable", 0)
    await after.group_send("news", secret)
    await before.group_send("news", {"type": "readable"})
    assert await receive(before, deaf, 1) == [{"type": "readable"}]
    assert statistics.snapshot()["event.undecodable"] == counted + 1


async def test_layers_with_other_prefixes_do_not_meet(make_layer: LayerFactory) -> None:
    one, two = make_layer(prefix="one"), make_layer(prefix="two")
    mine, theirs = await member(one, "news"), await member(two, "news")
    await one.group_send("news", {"type": "for one"})
    await one.send("jobs", {"type": "for one"})
    await two.group_send("news", {"type": "for two"})
    await two.send("jobs", {"type": "for two"})
    for layer, channel, kind in ((one, mine, "for one"), (two, theirs, "for two")):
        assert await receive(layer, channel, 1) == [{"type": kind}]
        assert await soon(layer.receive("jobs")) == {"type": kind}
        await nothing_waits(layer, layer, channel)
