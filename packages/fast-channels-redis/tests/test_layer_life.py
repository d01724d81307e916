"""Opening, closing and flushing layers, what they tell of outages, and event loops."""

import asyncio
import logging
from typing import Any

import pytest
from redis_layers import AnyLayer, LayerClass, LayerFactory, member, receive, soon, until
from redis_servers import Proxy, RedisServer

from fast_channels.exceptions import ChannelClosed, ChannelLayerUnavailable


def connections(server: RedisServer) -> int:
    # One is that of the question.
    return int(server.info("clients")["connected_clients"]) - 1


async def test_closing_twice_and_opening_again(
    layer: AnyLayer, other: AnyLayer, redis_server: RedisServer
) -> None:
    before = connections(redis_server)
    await layer.close()
    for number in range(10):
        channel = await member(layer, "news")
        await other.group_send("news", {"type": "n", "n": number})
        assert await receive(layer, channel, 1) == [{"type": "n", "n": number}]
        await layer.close()
        await layer.close()
        with pytest.raises(ChannelClosed):
            await layer.receive(channel)
    await other.close()
    await until(lambda: connections(redis_server) <= before, "all connections are closed")
    assert [key for key in redis_server.execute("KEYS", "*") if ":inbox:" in key] == []


def test_loops_that_come_and_go_leave_nothing(
    layer_class: LayerClass, redis_server: RedisServer
) -> None:
    layer = layer_class([redis_server.url])
    before = connections(redis_server)

    async def visit() -> None:
        channel = await member(layer, "news")
        await layer.group_send("news", {"type": "hello"})
        assert await receive(layer, channel, 1) == [{"type": "hello"}]

    for _ in range(5):
        asyncio.run(visit())
    asyncio.run(until(lambda: connections(redis_server) <= before, "all are closed"))
    assert [key for key in redis_server.execute("KEYS", "*") if ":inbox:" in key] == []


@pytest.mark.parametrize("prefix", ["asgi", "a*?[b]^-\\z", "a:b"])
async def test_flush_deletes_what_is_of_this_prefix_and_nothing_else(
    make_layer: LayerFactory, redis_server: RedisServer, prefix: str
) -> None:
    layer, away = make_layer(prefix=prefix), make_layer(prefix=prefix)
    strangers = [make_layer(prefix=other) for other in ("asgi2", "axxb-z", "a", f"{prefix}:x")]
    redis_server.execute("SET", "application", "data")
    redis_server.execute("SET", prefix, "data")
    redis_server.execute("SET", f"{prefix}:application", "data")
    channel, there = await member(layer, "news"), await member(away, "news")
    for each in (layer, *strangers):
        await each.send("jobs", {"type": "job"})
    redis_server.execute("XADD", f"{prefix}:dead:jobs", "*", "m", "data")
    await layer.send(channel, {"type": "waits"})

    with redis_server.counting() as counts:
        await layer.flush()
    assert not counts.keys() & {"keys", "flushdb", "flushall"}
    assert counts["scan"] >= 1
    keys = set(redis_server.execute("KEYS", "*"))
    assert {"application", prefix, f"{prefix}:application"} <= keys
    assert not keys & {f"{prefix}:general:jobs", f"{prefix}:dead:jobs"}
    for stranger in strangers:
        assert f"{stranger.prefix}:general:jobs" in keys
        assert await receive(stranger, "jobs", 1) == [{"type": "job"}]

    await layer.group_send("news", {"type": "after"})
    assert await receive(away, there, 1) == [{"type": "after"}]
    await layer.send(channel, {"type": "fresh"})
    assert await receive(layer, channel, 1) == [{"type": "fresh"}]


async def test_flush_finds_more_keys_than_one_scan_returns(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer()
    for number in range(1500):
        await layer.send(f"c{number}", {"type": "job"})
    assert redis_server.execute("EXISTS", "asgi:general:c1499")
    await layer.flush()
    assert redis_server.execute("KEYS", "asgi:general:*") == []


@pytest.mark.parametrize("form", ["function", "coroutine function", "message type"])
async def test_an_outage_is_told_once(
    make_layer: LayerFactory, redis_server: RedisServer, form: str
) -> None:
    told: list[str] = []

    def lost() -> None:
        told.append("lost")

    def back() -> None:
        told.append("back")

    async def lost_later() -> None:
        await asyncio.sleep(0)
        lost()

    async def back_later() -> None:
        await asyncio.sleep(0)
        back()

    forms: dict[str, dict[str, Any]] = {
        "function": {"on_disconnect": lost, "on_reconnect": back},
        "coroutine function": {"on_disconnect": lost_later, "on_reconnect": back_later},
        "message type": {"on_disconnect": "lost", "on_reconnect": "back"},
    }
    options = forms[form]
    with Proxy(redis_server.address) as link:
        layer = make_layer([link.url], **options)
        channel = await layer.new_channel()
        # Three connections for the queue, and what they lose is one outage.
        receiving = asyncio.ensure_future(layer.receive("jobs"))
        await layer.send("jobs", {"type": "job"})
        await soon(receiving)

        async def read() -> None:
            while True:
                told.append((await layer.receive(channel))["type"])

        reading = asyncio.ensure_future(read())
        for expected in (["lost", "back"], ["lost", "back"] * 2):
            link.refuse()
            await until(lambda: told[-1:] == ["lost"], "the loss is told")
            link.accept()
            await until(lambda: told[-1:] == ["back"], "the return is told")
            assert told == expected
        link.refuse()
        await until(lambda: told[-1:] == ["lost"], "the loss is told")
        await layer.close()
        with pytest.raises(ChannelClosed):
            await soon(reading)
    assert told == ["lost", "back"] * 2 + ["lost"]


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.exc_info and record.exc_info[0] is ZeroDivisionError
    ]


async def test_a_failing_notice_disturbs_nothing(
    make_layer: LayerFactory, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def fail_later() -> None:
        raise ZeroDivisionError

    with Proxy(redis_server.address) as link:
        layer = make_layer([link.url], on_disconnect=fail, on_reconnect=fail_later)
        channel = await member(layer, "news")
        link.cut()
        with caplog.at_level(logging.INFO, "fast_channels_redis"):
            await until(lambda: len(failures(caplog)) == 2, "both were logged")
        while True:
            try:
                await layer.group_send("news", {"type": "still here"})
                break
            except ChannelLayerUnavailable:
                pass  # The pub/sub layer may have had one on its way.
        assert await receive(layer, channel, 1) == [{"type": "still here"}]
        await layer.close()
