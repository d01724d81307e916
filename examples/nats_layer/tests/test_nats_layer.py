"""The NATS layer, proved by the conformance suite, and what only NATS has."""

import asyncio
import uuid
from functools import partial
from pathlib import Path

import pytest
from nats_server import NatsServer

from fast_channels.exceptions import ChannelLayerRefused, MessageTooLarge
from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    NotSupported,
)
from nats_layer import NatsChannelLayer


class TestNatsChannelLayer(ChannelLayerSuite):
    capabilities = Capabilities(
        general_channels=SUPPORTED,
        general_capacity=SUPPORTED,
        general_members=NotSupported("a general channel has no process that answers for it"),
        remote_capacity=NotSupported("the inbox of a process is a subject, which has no length"),
        remote_members=SUPPORTED,
        total_order=NotSupported("NATS keeps the order of each publisher, not among publishers"),
        processes=SUPPORTED,
        event_loops=SUPPORTED,
        sync_calls=SUPPORTED,
        fork=SUPPORTED,
        message_limit=SUPPORTED,
        encryption=SUPPORTED,
        flush=SUPPORTED,
        broker_restart=SUPPORTED,
        broker_pause=SUPPORTED,
        keeps_general_messages=SUPPORTED,
        keeps_group_messages=NotSupported("core NATS keeps nothing"),
        redelivery=SUPPORTED,
    )

    @pytest.fixture
    def broker(self, server: NatsServer) -> NatsServer:
        return server

    @pytest.fixture
    def make_layer(self, server: NatsServer) -> LayerFactory:
        return partial(NatsChannelLayer, server.url, prefix=uuid.uuid4().hex, claim_timeout=2)


async def test_layers_with_other_prefixes_do_not_meet(server: NatsServer) -> None:
    here, there = (NatsChannelLayer(server.url, prefix=prefix) for prefix in ("a", "a-b"))
    channel = await here.new_channel()
    await here.group_add("room", channel)
    await here.send("b-jobs", {"type": "here"})
    await there.group_send("room", {"type": "there"})
    await there.send("jobs", {"type": "there"})
    await there.flush()
    await here.group_send("room", {"type": "here"})
    async with asyncio.timeout(20):
        assert await here.receive(channel) == {"type": "here"}
        assert await here.receive("b-jobs") == {"type": "here"}
    await here.close()
    await there.close()


@pytest.mark.parametrize("target", ["jobs", "room"])
async def test_a_message_that_the_server_does_not_take_is_refused(
    server: NatsServer, target: str
) -> None:
    layer = NatsChannelLayer(server.url, max_message_bytes=10_000_000)
    call = layer.group_send if target == "room" else layer.send
    with pytest.raises(MessageTooLarge) as raised:
        await call(target, {"type": "large", "data": b"x" * 9_000_000})
    assert raised.value.limit == 8 * 1024 * 1024
    await layer.close()


async def test_a_wrong_password_is_told_at_once(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, "authorization { user: me, password: secret }")
    try:
        url = server.url.replace("//", "//me:wrong@")
        layer = NatsChannelLayer(url, send_timeout=1000)
        with pytest.raises(ChannelLayerRefused, match="refused the connection") as raised:
            await layer.new_channel()
        assert "wrong" not in str(raised.value)
        await layer.close()
    finally:
        server.stop()


@pytest.mark.parametrize("prefix", ["", "a.b", "a b", ">", "a" * 61])
def test_a_prefix_that_is_no_part_of_a_subject_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        NatsChannelLayer(prefix=prefix)


def test_a_claim_timeout_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="claim_timeout"):
        NatsChannelLayer(claim_timeout=0)
