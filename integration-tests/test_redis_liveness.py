"""Servers and links that fall silent without a word, and long silence in which nothing is wrong."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest
from layer_faults import MakeLayer, Member, both_layers, on_one_server, within_deadline
from redis_servers import Proxy, RedisServer
from redis_servers.fixtures import ServerFactory

from fast_channels.exceptions import ChannelLayerUnavailable

pytestmark = pytest.mark.slow

Record = Callable[[str, object], None]

LIVENESS = 0.4
"""Seconds."""

SENT = range(300)


@contextmanager
def silence(fault: str, server: RedisServer, proxy: Proxy) -> Generator[None]:
    if fault == "frozen":
        server.freeze()
    else:
        proxy.blackhole(requests=fault != "replies held up", replies=fault != "requests held up")
    try:
        yield
    finally:
        server.thaw() if fault == "frozen" else proxy.heal()


@on_one_server
@both_layers
@pytest.mark.parametrize("fault", ["frozen", "black hole", "requests held up", "replies held up"])
async def test_what_is_under_way_when_a_server_falls_silent_comes_at_most_once(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str, fault: str
) -> None:
    server = own_server()
    events: list[str] = []
    gone, back = asyncio.Event(), asyncio.Event()
    with Proxy(server.address) as proxy:
        here = make_layer(kind, proxy.url, liveness_timeout=LIVENESS, send_timeout=30)
        there = make_layer(
            kind,
            proxy.url,
            liveness_timeout=LIVENESS,
            send_timeout=30,
            on_disconnect=gone.set,
            on_reconnect=back.set,
        )
        members = [await Member().join(layer, "room") for layer in (here, there)]

        async def send(number: int) -> bool:
            try:
                await there.group_send("room", {"type": "there", "number": number})
            except ChannelLayerUnavailable as error:
                events.append(str(error))
                return False
            return True

        # The loop does not run in between, so the server never answers the first half.
        with silence(fault, server, proxy):
            sending = [asyncio.create_task(send(number)) for number in SENT[:150]]
            await within_deadline(gone.wait())
            await asyncio.sleep(4 * LIVENESS)  # until the last connection was given up
            sending += [asyncio.create_task(send(number)) for number in SENT[150:]]
            assert not back.is_set()
        accepted = await within_deadline(asyncio.gather(*sending))
        await within_deadline(back.wait())
        if kind == "queue":
            assert all(accepted)
            for member in members:
                await member.has(*(("there", number) for number in SENT))
                assert member.numbers["there"] == list(SENT)
                assert member.gaps == 0
        else:
            assert accepted == [number >= 150 for number in SENT]
            assert {"may have been delivered, or not" in event for event in events} == {True}
            for member in members:
                await member.has("gap")
        await there.group_send("room", {"type": "there", "number": 1000})
        for member in members:
            await member.has(("there", 1000))
            received = member.numbers["there"]
            assert len(received) == len(set(received))
            assert member.gaps == (kind == "pubsub")
            await member.stop()


@both_layers
async def test_a_dead_link_is_noticed_and_replaced(
    own_server: ServerFactory, make_layer: MakeLayer, kind: str, record_property: Record
) -> None:
    server = own_server()
    loop = asyncio.get_running_loop()
    with Proxy(server.address) as proxy:
        here = make_layer(kind, proxy.url, liveness_timeout=1)
        there = make_layer(kind, server.url)
        member = await Member().join(here, "room")
        await there.group_send("room", {"type": "there", "number": 0})
        await member.has(("there", 0))
        proxy.strand()
        began = loop.time()
        await there.group_send("room", {"type": "there", "number": 1})
        await member.has("gap" if kind == "pubsub" else ("there", 1))
        took = loop.time() - began
        record_property(f"{kind}: a dead link was replaced after", f"{took:.2f} s")
        print(f"{kind}, liveness_timeout 1 s: a dead link was replaced after {took:.2f} s")
        await there.group_send("room", {"type": "there", "number": 2})
        await here.group_send("room", {"type": "here", "number": 3})
        await member.has(("there", 2), ("here", 3))
        assert member.gaps == (kind == "pubsub")
        assert member.numbers["there"] == ([0, 2] if kind == "pubsub" else [0, 1, 2])
        await member.stop()


@pytest.mark.slow
@on_one_server
async def test_a_minute_of_silence(own_server: ServerFactory, make_layer: MakeLayer) -> None:
    """With the defaults, and with a timeout that older clients broke off blocking reads with."""
    server = own_server()
    channels: list[tuple[str, str]] = []
    layers = {
        f"{kind}-{protocol}-{timeout}": make_layer(
            kind,
            server.url,
            prefix=f"{kind}{protocol}{timeout}",
            connection_kwargs={"protocol": protocol, "socket_timeout": timeout},
        )
        for kind in ("queue", "pubsub")
        for protocol in (2, 3)
        for timeout in (None, 5)
    }
    members = {name: await Member().join(layer, "room") for name, layer in layers.items()}
    workers = {name: asyncio.create_task(layer.receive("tasks")) for name, layer in layers.items()}
    channels += [(name, member.name) for name, member in members.items()]
    await asyncio.sleep(60)
    clients = server.info("stats")["total_connections_received"]
    loop = asyncio.get_running_loop()
    for name, channel in channels:
        began = loop.time()
        await layers[name].group_send("room", {"type": "m", "number": 1})
        await layers[name].send(channel, {"type": "m", "number": 2})
        await layers[name].send("tasks", {"type": "m", "number": 3})
        await members[name].has(("m", 1), ("m", 2))
        assert (await within_deadline(workers[name]))["number"] == 3
        print(f"{name}: after {(loop.time() - began) * 1000:.0f} ms")
        assert members[name].gaps == 0
        await members[name].stop()
    # The only new ones are those of the questions for the statistics.
    assert int(server.info("stats")["total_connections_received"]) == int(clients) + 1
