"""Both layers through Sentinel, before and after another server takes over."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis_layers import (
    AnyLayer,
    LayerFactory,
    member,
    receive,
    soon,
    until,
)
from redis_servers import Binary, SentinelTrio, free_port
from redis_servers.fixtures import ServerFactory, TrioFactory

from fast_channels.exceptions import ChannelLayerUnavailable
from fast_channels.layers._mailbox import Mailbox
from fast_channels_redis import RedisChannelLayer, RedisPubSubChannelLayer

pytestmark = pytest.mark.slow

RATE = 20
"""Messages a second."""


@pytest.fixture(autouse=True)
def _demotes_at_once(redis_binary: Binary) -> None:
    if redis_binary.version < (7,):
        pytest.skip("a primary of Redis 6.2 learns only after seconds that it was replaced")


def both_forms(trio: SentinelTrio) -> Sequence[dict[str, Any]]:
    connection: dict[str, Any] = {"password": trio.password} if trio.password else {}
    return (
        {
            "sentinels": trio.addresses,
            "service_name": trio.name,
            "sentinel_kwargs": {"password": "guarded"} if trio.password else None,
            "connection_kwargs": connection,
        },
        {
            "hosts": [
                {
                    "sentinels": trio.addresses,
                    "master_name": trio.name,
                    "sentinel_kwargs": {"password": "guarded"} if trio.password else {},
                    **connection,
                }
            ]
        },
    )


def make(connect_layer: LayerFactory, options: dict[str, Any], **more: Any) -> AnyLayer:
    options = {**options, **more}
    return connect_layer(options.pop("hosts", None), **options)


@pytest.mark.parametrize("guarded", [False, True], ids=["open", "with passwords"])
async def test_both_forms(
    own_trio: TrioFactory, connect_layer: LayerFactory, guarded: bool
) -> None:
    trio = own_trio(password="se cret", sentinel_password="guarded") if guarded else own_trio()
    layer, other = (make(connect_layer, form) for form in both_forms(trio))
    channel = await member(layer, "news")
    await other.group_send("news", {"type": "group"})
    assert await receive(layer, channel, 1) == [{"type": "group"}]
    await other.send(channel, {"type": "direct"})
    assert await receive(layer, channel, 1) == [{"type": "direct"}]
    await other.send("jobs", {"type": "general"})
    assert await receive(layer, "jobs", 1) == [{"type": "general"}]
    assert trio.master.command_counts()["evalsha"] > 0


async def test_sentinels_that_are_away_or_silent_are_passed_over(
    sentinel_trio: SentinelTrio, connect_layer: LayerFactory
) -> None:
    sentinel_trio.sentinels[0].kill()
    sentinel_trio.sentinels[1].freeze()
    layer = make(connect_layer, both_forms(sentinel_trio)[0])
    channel = await member(layer, "news")
    await layer.group_send("news", {"type": "group"})
    assert await receive(layer, channel, 1) == [{"type": "group"}]


class _Mailbox(Mailbox):
    __slots__ = ()
    takes_gaps = True


class Traffic:
    """Messages both ways between two processes, to a group and to each other's channel."""

    def __init__(self, layers: Sequence[AnyLayer]) -> None:
        self._layers = layers
        self.accepted: list[list[int]] = [[], []]
        self.received: list[list[int]] = [[], []]
        self.gaps = [0, 0]
        self.errors: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._serial = 0

    async def start(self) -> None:
        for index, layer in enumerate(self._layers):
            # As a consumer has it: that is told of gaps.
            mailbox = _Mailbox()
            await layer.open_mailbox(mailbox)
            await layer.group_add(f"for-{index}", mailbox.name)
            self._begin(self._read(index, mailbox))
        for index in range(2):
            self._begin(self._send(index))

    def _begin(self, work: Any) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _read(self, index: int, mailbox: Mailbox) -> None:
        while True:
            message = await mailbox.receive()
            if message["type"] == "layer.gap":
                self.gaps[index] += 1
            else:
                self.received[index].append(message["n"])

    async def _send(self, index: int) -> None:
        """To the other one's group."""
        there, number = 1 - index, 0
        while True:
            number += 1
            try:
                await self._layers[index].group_send(f"for-{there}", {"type": "n", "n": number})
            except ChannelLayerUnavailable as error:
                self.errors.append(str(error))
            else:
                self.accepted[there].append(number)
            await asyncio.sleep(1 / RATE)

    async def resumes(self) -> None:
        """Wait until what is sent from now on arrives, in both directions."""
        last = [accepted[-1] if accepted else 0 for accepted in self.accepted]
        await until(
            lambda: all(
                received and received[-1] > number
                for received, number in zip(self.received, last, strict=True)
            ),
            "messages arrive in both directions",
        )

    async def finish(self) -> list[int]:
        """The numbers of messages lost of each direction; in order and once what arrived."""
        senders = self._tasks[2:]
        for sender in senders:
            sender.cancel()
        await asyncio.wait(senders)
        for index in range(2):
            await self._layers[1 - index].group_send(f"for-{index}", {"type": "n", "n": 10**9})
        await until(lambda: all(each[-1] == 10**9 for each in self.received), "the last arrive")
        for reader in self._tasks[:2]:
            reader.cancel()
        await asyncio.wait(self._tasks[:2])
        for received in self.received:
            received.pop()
            assert received == sorted(set(received)), "reordered or duplicated"
        return [
            len(set(accepted) - set(received))
            for accepted, received in zip(self.accepted, self.received, strict=True)
        ]


async def kill(trio: SentinelTrio) -> None:
    old = trio.kill_master()
    await asyncio.to_thread(trio.wait_for_failover, old)


async def command(trio: SentinelTrio) -> None:
    await asyncio.to_thread(trio.failover)


@pytest.mark.parametrize("fail_over", [kill, command])
async def test_both_directions_work_on_the_new_master(
    sentinel_trio: SentinelTrio,
    connect_layer: LayerFactory,
    fail_over: Callable[[SentinelTrio], Awaitable[None]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trio = sentinel_trio
    layers = [make(connect_layer, form, send_timeout=30) for form in both_forms(trio)]
    traffic = Traffic(layers)
    await soon(traffic.start())
    await traffic.resumes()
    old = trio.master
    await fail_over(trio)
    promoted = time.monotonic()
    await traffic.resumes()
    with capsys.disabled():
        took = time.monotonic() - promoted
        name = type(layers[0]).__name__
        print(f"\n{name}, {fail_over.__name__}: {took:.2f} s after all Sentinels agreed", end=" ")  # noqa: T201
    if not old.running:
        await asyncio.to_thread(old.start)
    if trio.binary.version >= (7,):  # it takes 20 s before
        await asyncio.to_thread(trio.wait_until_complete)
    await traffic.resumes()
    assert old.command_counts()["evalsha"] == 0 or old.info("replication")["role"] == "slave"
    lost = await soon(traffic.finish())
    with capsys.disabled():
        print(f"lost {lost}, gaps {traffic.gaps}, errors {len(traffic.errors)}", end=" ")  # noqa: T201
    assert traffic.gaps == [1, 1]
    if isinstance(layers[0], RedisPubSubChannelLayer):
        # Only for what was on its way when the connection broke.
        assert all("may have been delivered" in error for error in traffic.errors)
        assert len(traffic.errors) <= 2
    else:
        assert traffic.errors == []


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
@pytest.mark.parametrize("fail_over", [kill, command])
async def test_nothing_is_lost_that_a_replica_has(
    sentinel_trio: SentinelTrio,
    connect_layer: LayerFactory,
    fail_over: Callable[[SentinelTrio], Awaitable[None]],
) -> None:
    layers = [
        make(connect_layer, form, wait_replicas=1, send_timeout=30)
        for form in both_forms(sentinel_trio)
    ]
    traffic = Traffic(layers)
    await soon(traffic.start())
    await traffic.resumes()
    await fail_over(sentinel_trio)
    await traffic.resumes()
    assert await soon(traffic.finish()) == [0, 0]
    assert traffic.errors == []


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
async def test_without_replicas_wait_replicas_says_so(
    sentinel_trio: SentinelTrio, connect_layer: LayerFactory
) -> None:
    layer, other = (
        make(connect_layer, both_forms(sentinel_trio)[0], wait_replicas=3, send_timeout=4)
        for _ in range(2)
    )
    channel = await member(layer, "news")
    for outcome in await soon(
        asyncio.gather(
            layer.group_send("news", {"type": "a"}),
            other.send(channel, {"type": "a"}),
            return_exceptions=True,
        )
    ):
        with pytest.raises(ChannelLayerUnavailable, match="2 of 3 replicas confirmed the message"):
            raise outcome or AssertionError("it was sent")


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
async def test_many_senders_share_the_wait_for_replicas(
    sentinel_trio: SentinelTrio, connect_layer: LayerFactory
) -> None:
    layer, other = (
        make(connect_layer, both_forms(sentinel_trio)[0], wait_replicas=2, capacity=1000)
        for _ in range(2)
    )
    channel = await member(layer, "news")
    await other.group_send("news", {"type": "n", "n": -1})
    master = sentinel_trio.master
    with master.counting() as counts:
        sending = (other.group_send("news", {"type": "n", "n": n}) for n in range(200))
        await soon(asyncio.gather(*sending))
    assert [each["n"] for each in await receive(layer, channel, 201)] == [*range(-1, 200)]
    assert counts["wait"] <= 20


@pytest.mark.parametrize("layer_class", [RedisChannelLayer])
async def test_a_connection_to_what_is_no_master_any_more_is_dropped(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    """Without Sentinel, which cuts them: the refusal of a write does it, too."""
    master = own_server()
    layer = connect_layer([master.url], send_timeout=30)
    channel = await member(layer, "news")
    master.execute("REPLICAOF", "127.0.0.1", free_port())
    sending = asyncio.ensure_future(layer.group_send("news", {"type": "patient"}))
    await asyncio.sleep(0.3)
    assert not sending.done()
    master.execute("REPLICAOF", "NO", "ONE")
    await soon(sending)
    assert await receive(layer, channel, 1) == [{"type": "patient"}]
