"""What is wrong is told in one clear sentence, at construction or at the first use, and without
anybody's password."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis_layers import AnyLayer, LayerClass, LayerFactory
from redis_servers import Certificates, RedisServer, SentinelTrio, free_port
from redis_servers.fixtures import ClusterFactory, ServerFactory, TlsServer, TrioFactory

from fast_channels.exceptions import ChannelLayerRefused, ChannelLayerUnavailable
from fast_channels_redis import RedisChannelLayer

PASSWORD = "hunter2-is-secret"

AT_CONSTRUCTION: list[tuple[dict[str, Any], str]] = [
    ({"hosts": f"redis://:{PASSWORD}@h"}, "hosts is a single str, expected a list: put it in br"),
    ({"hosts": {"address": f"redis://:{PASSWORD}@h"}}, "hosts is a single dict, expected a list"),
    ({"hosts": []}, "hosts is empty, expected a list with one host or more"),
    ({"hosts": ["localhost:6379"]}, "a host is a URL that cannot be used: Redis URL must specify"),
    ({"hosts": [f"http://:{PASSWORD}@h"]}, "a host is a URL that cannot be used: Redis URL must"),
    ({"hosts": ["redis://h?db=one"]}, "a host is a URL that cannot be used: Invalid value for "),
    ({"hosts": [f"redis://:{PASSWORD}/x@h:1"]}, "its port is not a number (a / in a password is"),
    ({"hosts": [6379]}, "a host has to be a URL, a pair (host, port) or a dict"),
    ({"hosts": [("h", 6379, PASSWORD)]}, "a host has to be a URL, a pair (host, port) or a dict"),
    ({"hosts": [("h", PASSWORD)]}, "a host has to be a URL, a pair (host, port) or a dict"),
    ({"hosts": [("h", 1)], "connection_kwargs": {"pasword": PASSWORD}}, "argument 'pasword'"),
    ({"hosts": [{"host": "h", "prot": 1}]}, "an option of a host or in connection_kwargs that red"),
    ({"hosts": [{"master_name": "m"}]}, "a host has master_name but no sentinels"),
    ({"hosts": [{"sentinels": [("h", 1)]}]}, "a host has sentinels but no master_name"),
    ({"sentinels": [("h", 1)]}, "sentinels and service_name go together: pass both or neither"),
    ({"service_name": "m"}, "sentinels and service_name go together: pass both or neither"),
    ({"sentinels": [("h", 1)], "service_name": "m", "hosts": []}, "either sentinels or hosts"),
    ({"sentinels": [], "service_name": "m"}, "sentinels has to be a list of pairs (host, port)"),
    ({"sentinels": ["h:1"], "service_name": "m"}, "sentinels has to be a list of pairs (host, po"),
    ({"sentinels": [f"redis://:{PASSWORD}@h"], "service_name": "m"}, "sentinels has to be a list"),
    ({"sentinel_kwargs": {}}, "sentinel_kwargs needs sentinels and service_name"),
    ({"bogus": 1}, "unexpected keyword argument 'bogus'"),
    ({"prefix": b"x"}, "prefix is b'x', expected a str"),
    ({"expiry": 0}, "expiry is 0, expected a number of seconds above 0"),
    ({"capacity": 0}, "capacity"),
    ({"liveness_timeout": 0}, "liveness_timeout is 0, expected a number of seconds above 0"),
    ({"claim_timeout": "1"}, "claim_timeout is '1', expected a number of seconds above 0"),
    ({"max_deliveries": 0}, "max_deliveries is 0, expected a whole number, 1 or more"),
    ({"on_disconnect": 1}, "on_disconnect is 1, expected a callable or a message type"),
    ({"serializer_format": "yaml"}, "yaml"),
    ({"max_message_bytes": 0}, "max_message_bytes is 0"),
    ({"send_timeout": 0}, "send_timeout must be above 0"),
    ({"symmetric_encryption_keys": PASSWORD}, "the keys are a list of str or bytes; put the"),
]


@pytest.mark.parametrize(("options", "text"), AT_CONSTRUCTION)
def test_at_construction(layer_class: LayerClass, options: dict[str, Any], text: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        layer_class(**options)
    sentence = str(caught.value)
    assert text in sentence
    assert "\n" not in sentence
    error: BaseException | None = caught.value
    while error is not None and not error.__suppress_context__:
        assert PASSWORD not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lease": 0}, "lease is 0, expected a number of seconds above 0"),
        ({"wait_replicas": -1}, "wait_replicas is -1, expected a whole number, 0 or more"),
    ],
)
def test_at_construction_of_the_queue(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RedisChannelLayer(**options)


SEND_TIMEOUT = 60
"""Seconds: what fails sooner has not waited for it."""


async def first_use(layer: AnyLayer) -> str:
    """The sentence with which it is refused."""
    began = time.monotonic()
    with pytest.raises(ChannelLayerRefused) as caught:
        await layer.group_send("news", {"type": "a"})
    assert time.monotonic() - began < SEND_TIMEOUT / 3
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


async def refusal(connect_layer: LayerFactory, *hosts: Any, **options: Any) -> str:
    return await first_use(connect_layer([*hosts], send_timeout=SEND_TIMEOUT, **options))


async def test_wrong_and_missing_passwords(
    own_server: ServerFactory, connect_layer: LayerFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = own_server(password="right", users={"app": "on >right ~* &* +@all"})
    for host, options in (
        (server.address, {"password": PASSWORD}),
        (f"redis://:{PASSWORD}@{server.host}:{server.port}", {}),
        (f"redis://app:{PASSWORD}@{server.host}:{server.port}", {}),
        (f"redis://nobody:{PASSWORD}@{server.host}:{server.port}?protocol=3", {}),
    ):
        layer = connect_layer([host], send_timeout=SEND_TIMEOUT, connection_kwargs=options)
        sentence = await first_use(layer)
        assert sentence.startswith(f"{server.host}:{server.port}")
        assert "(check the user name and the password)" in sentence
        for text in (sentence, caplog.text, repr(layer), repr(vars(layer))):
            assert PASSWORD not in text
    sentence = await refusal(connect_layer, server.address)
    assert "(check the user name and the password)" in sentence
    sentence = await refusal(connect_layer, server.address, connection_kwargs={"protocol": 3})
    assert "(check the user name and the password)" in sentence


async def test_a_password_for_a_server_that_asks_for_none(
    connect_layer: LayerFactory, redis_server: RedisServer
) -> None:
    sentence = await refusal(
        connect_layer, redis_server.address, connection_kwargs={"password": PASSWORD}
    )
    assert PASSWORD not in sentence
    assert "password" in sentence.lower()


async def test_a_host_that_nobody_listens_at(connect_layer: LayerFactory) -> None:
    port = free_port()
    layer = connect_layer([f"redis://:{PASSWORD}@127.0.0.1:{port}"], send_timeout=0.5)
    with pytest.raises(ChannelLayerUnavailable) as caught:
        await layer.group_send("news", {"type": "a"})
    assert not isinstance(caught.value, ChannelLayerRefused)
    assert re.match(
        rf"the broker could not be reached within 0.5 s: .*127.0.0.1:{port}", str(caught.value)
    )
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_host_that_is_silent(
    own_server: ServerFactory, connect_layer: LayerFactory, protocol: int
) -> None:
    server = own_server()
    server.freeze()
    layer = connect_layer([server.url], send_timeout=1, connection_kwargs={"protocol": protocol})
    with pytest.raises(ChannelLayerUnavailable) as caught:
        await layer.group_send("news", {"type": "a"})
    assert re.match(
        rf"the broker could not be reached within 1 s: 127.0.0.1:{server.port} does not answer",
        str(caught.value),
    )
    server.thaw()


async def test_a_name_that_is_none(connect_layer: LayerFactory) -> None:
    layer = connect_layer(["redis://no-such-host.invalid:6379"], send_timeout=1)
    with pytest.raises(ChannelLayerUnavailable, match="no-such-host.invalid:6379"):
        await layer.group_send("news", {"type": "a"})


async def test_sentinels_and_servers_taken_for_each_other(
    sentinel_trio: SentinelTrio, connect_layer: LayerFactory
) -> None:
    sentinel = sentinel_trio.sentinels[0]
    sentence = await refusal(connect_layer, sentinel.address)
    assert sentence == (
        f"127.0.0.1:{sentinel.port} is a Sentinel, not a Redis server: pass "
        "sentinels=[(host, port)] and service_name=… instead of hosts"
    )
    master = sentinel_trio.servers[0]
    for layer in (
        connect_layer(None, sentinels=[master.address], service_name="mymaster"),
        connect_layer([{"sentinels": [master.address], "master_name": "mymaster"}]),
    ):
        assert await first_use(layer) == (
            f"127.0.0.1:{master.port} is not a Sentinel: pass its address in hosts instead"
        )
    layer = connect_layer(None, sentinels=sentinel_trio.addresses, service_name="nomaster")
    assert re.fullmatch(
        r"the Sentinel at 127.0.0.1:\d+ knows no service 'nomaster', it knows 'mymaster': "
        "check service_name",
        await first_use(layer),
    )
    replica = sentinel_trio.servers[1]
    layer = connect_layer([replica.address], send_timeout=0.5)
    with pytest.raises(ChannelLayerUnavailable, match=f"{replica.port} is a replica"):
        await layer.group_send("news", {"type": "a"})


async def test_sentinels_that_ask_for_a_password(
    own_trio: TrioFactory, connect_layer: LayerFactory
) -> None:
    trio = own_trio(sentinel_password="guarded", password="right")
    for kwargs in ({}, {"password": PASSWORD}):
        sentence = await first_use(
            connect_layer(
                None,
                sentinels=trio.addresses,
                service_name="mymaster",
                sentinel_kwargs=kwargs,
                send_timeout=SEND_TIMEOUT,
            )
        )
        assert "(check the user name and the password): check sentinel_kwargs" in sentence
        assert PASSWORD not in sentence


async def test_a_cluster_and_a_single_server_taken_for_each_other(
    own_cluster: ClusterFactory, connect_layer: LayerFactory, redis_server: RedisServer
) -> None:
    cluster = own_cluster()
    port = cluster.nodes[0].port
    sentence = await refusal(connect_layer, cluster.addresses[0])
    assert sentence == (
        f"127.0.0.1:{port} is part of a Redis Cluster: pass cluster=True, or a URL with "
        "redis+cluster://"
    )
    for host, options in (
        (redis_server.address, {"cluster": True}),
        (redis_server.url.replace("redis://", "redis+cluster://"), {}),
    ):
        sentence = await refusal(connect_layer, host, **options)
        assert sentence == (
            f"127.0.0.1:{redis_server.port} is not part of a Redis Cluster: connect to it with "
            "redis:// and without cluster=True"
        )


async def test_tls_where_there_is_none(
    connect_layer: LayerFactory, redis_server: RedisServer, certificates: Certificates
) -> None:
    for host, options in (
        (redis_server.url.replace("redis://", "rediss://"), {}),
        (redis_server.address, {"ssl": True, "ssl_ca_certs": str(certificates.authority)}),
    ):
        sentence = await refusal(connect_layer, host, connection_kwargs=options)
        assert sentence == (
            f"127.0.0.1:{redis_server.port} does not speak TLS: connect to it with redis://, or "
            "without ssl=True"
        )


@pytest.mark.parametrize("protocol", [2, 3])
async def test_no_tls_where_there_is_some(
    connect_layer: LayerFactory, tls_server: TlsServer, protocol: int
) -> None:
    sentence = await refusal(
        connect_layer,
        f"redis://:{PASSWORD}@127.0.0.1:{tls_server.port}",
        connection_kwargs={"protocol": protocol},
    )
    assert sentence == (
        f"127.0.0.1:{tls_server.port} expects TLS: connect to it with rediss://, or with ssl=True"
    )


async def test_a_certificate_of_somebody_else(
    connect_layer: LayerFactory, tls_server: TlsServer
) -> None:
    sentence = await refusal(connect_layer, tls_server.url)
    assert sentence.startswith(
        f"127.0.0.1:{tls_server.port} has a certificate that is not accepted: "
    )
    assert sentence.endswith("(check ssl_ca_certs and the host's name)")


async def test_a_user_who_may_not(own_server: ServerFactory, connect_layer: LayerFactory) -> None:
    server = own_server(users={"app": "on >pw ~* &* +@connection +info +role"})
    sentence = await refusal(connect_layer, server.url_for("app", "pw"))
    assert "permission" in sentence


@asynccontextmanager
async def server_that_says(info: str) -> AsyncGenerator[int]:
    """Answers INFO like this, and everything else with OK."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                count = int((await reader.readuntil(b"\r\n"))[1:])
                words: list[bytes] = []
                for _ in range(count):
                    length = int((await reader.readuntil(b"\r\n"))[1:])
                    words.append((await reader.readexactly(length + 2))[:-2])
                if words[0] == b"INFO":
                    data = info.encode()
                    writer.write(b"$%d\r\n%b\r\n" % (len(data), data))
                else:
                    writer.write(b"*1\r\n$6\r\nmaster\r\n" if words[0] == b"ROLE" else b"+OK\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "4.0.14"])
async def test_a_redis_that_is_too_old(connect_layer: LayerFactory, version: str) -> None:
    async with server_that_says(f"# Server\r\nredis_version:{version}\r\n") as port:
        layer = connect_layer([("127.0.0.1", port)], connection_kwargs={"protocol": 2})
        assert await first_use(layer) == (
            f"127.0.0.1:{port} is Redis {version}; the layer needs Redis 6.2 or later, or Valkey"
        )
        await layer.close()


async def test_receiving_does_not_wait_for_ever_where_waiting_does_not_help(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    server = own_server(password="right")
    layer = connect_layer([server.address])
    with pytest.raises(ChannelLayerRefused, match="check the user name"):
        async with asyncio.timeout(20):
            await layer.receive("jobs")


async def test_it_works_once_the_fault_is_mended(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    server = own_server(users={"app": "on >old ~* &* +@all"})
    layer = connect_layer([server.url_for("app", "new")])
    await first_use(layer)
    server.execute("ACL", "SETUSER", "app", ">new")
    await layer.group_send("news", {"type": "a"})
