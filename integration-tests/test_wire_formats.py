"""docs/reference/wire-formats.md is true to what the layers do with Redis."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from redis_layers import DEADLINE, soon, until
from redis_servers import RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer

Layer = RedisChannelLayer | RedisPubSubChannelLayer

PAGE: Final = (Path(__file__).parents[1] / "docs" / "reference" / "wire-formats.md").read_text()
EXPIRY, LEASE = 300, 20
LIVES: Final = {
    "general": EXPIRY + 3600,
    "dead": None,
    **dict.fromkeys(("inbox", "members", "nodes", "witness"), 10 * LEASE),
}
"""Seconds, as the last column of the table says it."""
ROWS: Final = re.findall(r"^\| `(\{prefix\}:\S+)` \| (\w+) \| (\w+)(.*?) \|", PAGE, re.MULTILINE)


def pattern(name: str) -> str:
    return re.sub(r"\\{node\\}", "[0-9a-f]{16}", re.escape(name)).replace(r"\{prefix\}", "t")


@asynccontextmanager
async def used(layer: Layer) -> AsyncGenerator[tuple[Layer, str]]:
    """The layer, after it has done all that it can, and a channel in the group `news`."""
    channel = await layer.new_channel("chat")
    try:
        await layer.group_add("news", channel)
        await layer.group_send("news", {"type": "news.flash"})
        assert await soon(layer.receive(channel)) == {"type": "news.flash"}
        for number in range(2):
            await layer.send("jobs", {"type": "job.new", "number": number})
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(DEADLINE), layer.claim("jobs"):
                raise ZeroDivisionError
        yield layer, channel
    finally:
        await layer.close()


@pytest.mark.parametrize("kind", [RedisPubSubChannelLayer, RedisChannelLayer])
@pytest.mark.parametrize("hosts", [1, 2])
async def test_keys_are_those_of_the_table(
    redis_server: RedisServer, kind: Callable[..., Layer], hosts: int
) -> None:
    urls = [redis_server.url] * hosts
    options: dict[str, Any] = {"prefix": "t", "expiry": EXPIRY, "max_deliveries": 1}
    if kind is RedisChannelLayer:
        options["lease"] = LEASE
    async with used(kind(urls, **options)) as (layer, _):
        # What was given back would be delivered once more, which is too often.
        receivers = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
        await until(lambda: redis_server.execute("XLEN", "t:dead:jobs"), "it is buried")
        await layer.send("jobs", {"type": "job.new"})
        await soon(asyncio.gather(*receivers))
        expected = {
            name: sort
            for name, sort, whose, when in ROWS
            if whose == "both"
            or (kind is RedisChannelLayer and (hosts == 2 or "several hosts" not in when))
        }
        await until(lambda: len(keys(redis_server)) == len(expected), "all keys are there")
        found: set[str] = set()
        for key in keys(redis_server):
            (row,) = (
                name
                for name in expected
                if re.fullmatch(re.sub(r"\\{(group|channel)\\}", r"\\w+", pattern(name)), key)
            )
            found.add(row)
            assert redis_server.execute("TYPE", key) == expected[row]
            life = LIVES[row.split(":")[1]]
            left = redis_server.execute("TTL", key)
            assert (left == -1) if life is None else (life - 60 < left <= life), key
        assert found == set(expected)


def keys(server: RedisServer) -> list[str]:
    return list(server.execute("KEYS", "*"))


async def test_what_is_in_an_inbox(redis_server: RedisServer) -> None:
    async with used(RedisChannelLayer([redis_server.url], prefix="t")) as (layer, channel):
        assert re.fullmatch(r"chat\.[0-9a-f]{16}![0-9a-f]+", channel)
        node = channel.partition(".")[2].partition("!")[0]
        other = RedisChannelLayer([redis_server.url], prefix="t")
        try:
            await other.send(channel, {"type": "hello"})
            await other.group_add("board", channel)
            await other.group_send("board", {"type": "board.flash"})
            for name in ("hello", "board.flash"):
                assert (await soon(layer.receive(channel)))["type"] == name
        finally:
            await other.close()
        entries = redis_server.execute("XRANGE", f"t:inbox:{node}", "-", "+")
        assert {fields[0] for _, fields in entries} == {"m"}
        blobs = [fields[1].encode(errors="surrogateescape") for _, fields in entries]
        assert blobs[0] == b""  # where it was made
        parcels = [msgspec.msgpack.decode(blob[17:]) for blob in blobs if blob[:1] == b"\x00"]
        sender = next(blob[1:9] for blob in blobs if blob[:1] == b"\x00")
        assert parcels == [
            ["d", channel, msgspec.msgpack.encode({"type": "hello"})],
            ["j", "board", channel, sender.hex(), parcels[1][4]],
        ]
        last = blobs[-1]
        assert last[:1] == b"\x01"
        assert last[1:9] == sender
        assert int.from_bytes(last[9:17]) == 3
        assert last[17:23] == bytes([5]) + b"board"
        assert msgspec.msgpack.decode(last[23:]) == {"type": "board.flash"}


@pytest.mark.parametrize("kind", [RedisPubSubChannelLayer, RedisChannelLayer])
async def test_acl_of_the_page_is_enough(
    own_server: ServerFactory, kind: Callable[..., Layer]
) -> None:
    (command,) = re.findall(r"^ACL SETUSER app[^`]*", PAGE, re.MULTILINE)
    server = own_server()
    server.execute(*command.replace("asgi", "t").split())
    url = server.url_for("app", "password")
    async with used(kind([url], prefix="t")) as (layer, channel):
        second = kind([url], prefix="t")
        try:
            await second.send(channel, {"type": "hello"})
            assert await soon(layer.receive(channel)) == {"type": "hello"}
            await soon(layer.receive("jobs"))
            await second.flush()
        finally:
            await second.close()
    # Calls that nobody waits for are refused, too.
    assert server.execute("ACL", "LOG") == []
