"""General channels: a message goes to another receiver if the first one fails."""

import asyncio
from typing import Any

import pytest
from redis_layers import AnyLayer, LayerFactory, receive, soon, until
from redis_servers import Proxy, RedisServer

from fast_channels.exceptions import InvalidNameError
from fast_channels.statistics import statistics

KEY = "asgi:general:jobs"


def held(server: RedisServer) -> int:
    return int(server.execute("XPENDING", KEY, "receivers")[0])


async def send_all(layer: AnyLayer, count: int) -> None:
    for number in range(count):
        await layer.send("jobs", {"type": "n", "n": number})


async def test_what_is_received_is_gone_from_the_server(
    layer: AnyLayer, other: AnyLayer, redis_server: RedisServer
) -> None:
    await send_all(layer, 3)
    await receive(other, "jobs", 3)
    await until(lambda: redis_server.execute("XLEN", KEY) == 0, "all is acknowledged")
    assert held(redis_server) == 0


async def test_a_claimed_message_is_acknowledged_at_the_end_of_the_block(
    layer: AnyLayer, other: AnyLayer, redis_server: RedisServer
) -> None:
    await layer.send("jobs", {"type": "work"})
    async with asyncio.timeout(20), other.claim("jobs") as message:
        assert message == {"type": "work"}
        assert held(redis_server) == 1
    assert held(redis_server) == 0
    assert redis_server.execute("XLEN", KEY) == 0


async def test_after_a_failure_the_message_comes_again(layer: AnyLayer, other: AnyLayer) -> None:
    await layer.send("jobs", {"type": "work"})
    with pytest.raises(ZeroDivisionError):
        async with layer.claim("jobs"):
            raise ZeroDivisionError
    async with asyncio.timeout(20), other.claim("jobs") as message:
        assert message == {"type": "work"}


async def test_a_cancelled_claim_comes_again(layer: AnyLayer, other: AnyLayer) -> None:
    has_it = asyncio.Event()

    async def work() -> None:
        async with layer.claim("jobs"):
            has_it.set()
            await asyncio.Event().wait()

    working = asyncio.ensure_future(work())
    await other.send("jobs", {"type": "work"})
    await soon(has_it.wait())
    working.cancel()
    assert await receive(other, "jobs", 1) == [{"type": "work"}]


async def test_the_message_of_a_process_that_died_goes_to_another(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    with Proxy(redis_server.address) as link:
        dying = make_layer([link.url], claim_timeout=0.5)
        other = make_layer(claim_timeout=0.5)
        await other.send("jobs", {"type": "work"})
        claim = dying.claim("jobs")
        assert await soon(claim.__aenter__()) == {"type": "work"}
        link.refuse()
        async with asyncio.timeout(20), other.claim("jobs") as message:
            assert message == {"type": "work"}
            link.accept()
            # It comes back late, with nothing to say any more.
            assert await claim.__aexit__(ValueError, ValueError(), None) in (None, False)
            await dying.send("more", {"type": "after the release"})
        await dying.close()
    await until(lambda: redis_server.execute("XLEN", KEY) == 0, "it was done once more, and only")


async def test_a_failure_does_not_take_a_message_from_who_has_it_by_now(
    make_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = make_layer()
    await layer.send("jobs", {"type": "work"})
    claim = layer.claim("jobs")
    assert await soon(claim.__aenter__()) == {"type": "work"}
    ((entry, _, _, _),) = redis_server.execute("XPENDING", KEY, "receivers", "-", "+", 1)
    redis_server.execute("XCLAIM", KEY, "receivers", "another", 0, entry)
    await claim.__aexit__(ValueError, ValueError(), None)
    await layer.close()
    ((_, owner, idle, _),) = redis_server.execute("XPENDING", KEY, "receivers", "-", "+", 1)
    assert owner == "another"
    assert idle < 20_000


async def test_a_long_claim_is_kept(make_layer: LayerFactory) -> None:
    layer, other = make_layer(claim_timeout=0.6), make_layer(claim_timeout=0.6)
    await layer.send("jobs", {"type": "long"})
    async with asyncio.timeout(20), layer.claim("jobs") as message:
        assert message == {"type": "long"}
        waiting = asyncio.ensure_future(other.receive("jobs"))
        # Three times as long as others wait for a silent one.
        await asyncio.sleep(1.8)
        assert not waiting.done()
    await layer.send("jobs", {"type": "next"})
    assert await soon(waiting) == {"type": "next"}


async def test_a_long_claim_is_kept_though_the_server_refuses_for_a_while(
    own_server: Any, connect_layer: LayerFactory
) -> None:
    server: RedisServer = own_server()
    layer, other = (connect_layer([server.url], claim_timeout=0.9) for _ in range(2))
    await layer.send("jobs", {"type": "long"})
    async with asyncio.timeout(20), layer.claim("jobs"):
        server.execute("ACL", "SETUSER", "default", "-xclaim", "-evalsha")
        await until(
            lambda: (
                "xclaim" in str(server.execute("ACL", "LOG"))
                or "evalsha" in str(server.execute("ACL", "LOG"))
            ),
            "the claim was refused once",
        )
        server.execute("ACL", "SETUSER", "default", "+xclaim", "+evalsha")
        waiting = asyncio.ensure_future(other.receive("jobs"))
        await asyncio.sleep(1.8)
        assert not waiting.done()
    await layer.send("jobs", {"type": "next"})
    assert await soon(waiting) == {"type": "next"}


async def test_what_fails_always_goes_to_the_dead_letters(
    make_layer: LayerFactory, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    layer = make_layer(max_deliveries=2)
    await layer.send("jobs", {"type": "poison"})
    ((_, sent),) = redis_server.execute("XRANGE", KEY, "-", "+")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(20), layer.claim("jobs") as message:
                assert message == {"type": "poison"}
                raise ZeroDivisionError
    waiting = asyncio.ensure_future(layer.receive("jobs"))
    await until(lambda: redis_server.execute("XLEN", "asgi:dead:jobs"), "it is buried")
    ((_, fields),) = redis_server.execute("XRANGE", "asgi:dead:jobs", "-", "+")
    assert fields[:2] == sent
    await until(lambda: held(redis_server) == 0, "nobody holds it")
    await layer.send("jobs", {"type": "next"})
    assert await soon(waiting) == {"type": "next"}
    assert redis_server.execute("XLEN", "asgi:dead:jobs") == 1
    assert "delivered 2 times" in caplog.text


async def test_what_cannot_be_decoded_is_dropped(
    layer: AnyLayer, other: AnyLayer, redis_server: RedisServer
) -> None:
    counted = statistics.snapshot().get("event.undecodable", 0)
    for data in ("", "nonsense", "\xc1"):
        redis_server.execute("XADD", KEY, "*", "m", data)
    await layer.send("jobs", {"type": "good"})
    async with asyncio.timeout(20), other.claim("jobs") as message:
        assert message == {"type": "good"}
    for data in ("", "nonsense", "\xc1"):
        redis_server.execute("XADD", KEY, "*", "m", data)
    await layer.send("jobs", {"type": "good"})
    assert await receive(other, "jobs", 1) == [{"type": "good"}]
    assert statistics.snapshot()["event.undecodable"] == counted + 6
    await until(lambda: redis_server.execute("XLEN", KEY) == 0, "all is acknowledged")
    assert held(redis_server) == 0


async def test_only_general_channels_can_be_claimed_from(layer: AnyLayer) -> None:
    channel = await layer.new_channel()
    with pytest.raises(InvalidNameError, match="belongs to one process"):
        async with layer.claim(channel):
            raise AssertionError("it was claimed")


async def test_a_channel_that_was_flushed_goes_on(layer: AnyLayer, other: AnyLayer) -> None:
    waiting = asyncio.ensure_future(layer.receive("jobs"))
    await other.send("jobs", {"type": "first"})
    assert await soon(waiting) == {"type": "first"}
    waiting = asyncio.ensure_future(layer.receive("jobs"))
    await other.flush()
    await other.send("jobs", {"type": "second"})
    assert await soon(waiting) == {"type": "second"}
