"""Every form in which the servers can be given."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from redis_layers import AnyLayer, LayerClass, LayerFactory, member, receive
from redis_servers import Certificates, RedisServer
from redis_servers.fixtures import ServerFactory, TlsServer

from fast_channels_redis._options import parse_hosts


async def check(layer: AnyLayer) -> None:
    """It works: group, own channel, general channel."""
    channel = await member(layer, "news")
    await layer.group_send("news", {"type": "group"})
    assert await receive(layer, channel, 1) == [{"type": "group"}]
    await layer.send("jobs", {"type": "general"})
    assert await receive(layer, "jobs", 1) == [{"type": "general"}]


FORMS: dict[str, Callable[[RedisServer], dict[str, Any]]] = {
    "URL": lambda server: {"hosts": [server.url]},
    "URL with a database": lambda server: {"hosts": [f"{server.url}/1"]},
    "URL with options": lambda server: {
        "hosts": [f"{server.url}?socket_connect_timeout=2&db=1&health_check_interval=3"]
    },
    "URL with protocol=3": lambda server: {"hosts": [f"{server.url}?protocol=3"]},
    "pair": lambda server: {"hosts": [server.address]},
    "list as pair": lambda server: {"hosts": [list(server.address)]},
    "tuple of hosts": lambda server: {"hosts": (server.address,)},
    "iterator of hosts": lambda server: {"hosts": iter([server.address])},
    "address": lambda server: {"hosts": [{"address": server.url}]},
    "address and more": lambda server: {"hosts": [{"address": server.url, "db": 1}]},
    "host and port": lambda server: {"hosts": [{"host": server.host, "port": server.port}]},
    "connection_kwargs": lambda server: {
        "hosts": [server.address],
        "connection_kwargs": {"db": 1, "protocol": 3, "client_name": "chat"},
    },
    "timeouts that would break blocking reads": lambda server: {
        "hosts": [{"address": server.url, "socket_timeout": 0.05, "retry_on_timeout": True}]
    },
    "options of pools": lambda server: {
        "hosts": [f"{server.url}?max_connections=3"],
        "connection_kwargs": {"max_connections": 5},
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_a_server(
    layer_class: LayerClass, redis_server: RedisServer, form: Callable[[RedisServer], Any]
) -> None:
    layer = layer_class(**form(redis_server))
    try:
        await check(layer)
    finally:
        await layer.close()


async def test_the_database_of_the_url_is_used(
    connect_layer: LayerFactory, redis_server: RedisServer
) -> None:
    layer = connect_layer([f"{redis_server.url}/3"])
    await layer.send("jobs", {"type": "job"})
    assert "db3" in redis_server.info("keyspace")
    assert "db0" not in redis_server.info("keyspace")


def test_the_default_is_the_usual_port() -> None:
    servers = parse_hosts(
        None,
        sentinels=None,
        service_name=None,
        sentinel_kwargs=None,
        connection_kwargs=None,
        cluster=False,
    )
    assert isinstance(servers, list)
    assert [server.name for server in servers] == ["localhost:6379"]


async def test_several_hosts_share_the_names(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    servers = [own_server() for _ in range(3)]
    layer, other = (connect_layer([server.url for server in servers]) for _ in range(2))
    for number in range(30):
        channel = await member(layer, f"group-{number}")
        await other.group_send(f"group-{number}", {"type": "group", "n": number})
        await other.send(channel, {"type": "direct", "n": number})
        await other.send(f"jobs-{number}", {"type": "general", "n": number})
        got = [each["type"] for each in await receive(layer, channel, 2)]
        assert sorted(got) == ["direct", "group"]
        assert await receive(layer, f"jobs-{number}", 1) == [{"type": "general", "n": number}]
    for server in servers:
        counts = server.command_counts()
        assert counts["evalsha"] + counts["publish"] > 2  # each has its share


async def test_a_unix_socket(own_server: ServerFactory, connect_layer: LayerFactory) -> None:
    server = own_server(unix_socket=True, password="p/w")
    for host in (
        server.unix_url,
        f"unix://{server.unix_path}?password=p%2Fw&db=1",
        {"unix_socket_path": server.unix_path, "password": "p/w"},
        {"path": server.unix_path, "password": "p/w"},
    ):
        await check(connect_layer([host]))


async def test_users_and_passwords(own_server: ServerFactory, connect_layer: LayerFactory) -> None:
    server = own_server(
        password="adm/in",
        users={"a@b": "on >se:c/ret ~* &* +@all", "app": "on >simple ~* &* +@all"},
    )
    for host, options in (
        (server.url, {}),
        (f"redis://:adm%2Fin@{server.host}:{server.port}", {}),
        (f"redis://a%40b:se%3Ac%2Fret@{server.host}:{server.port}", {}),
        (f"redis://app:simple@{server.host}:{server.port}?protocol=3", {}),
        (f"redis://{server.host}:{server.port}?username=app&password=simple", {}),
        (server.address, {"username": "a@b", "password": "se:c/ret"}),
        ({"address": f"redis://{server.host}:{server.port}", "password": "adm/in"}, {}),
        (server.address, {"password": "adm/in", "protocol": 3}),
    ):
        await check(connect_layer([host], connection_kwargs=options))


async def test_a_user_who_may_do_only_what_the_layer_needs(
    own_server: ServerFactory, connect_layer: LayerFactory
) -> None:
    server = own_server(
        users={
            "app": "on >pw ~asgi:* resetchannels &asgi__* -@all "
            "+@connection +@pubsub +@stream +@scripting +@set +@sortedset "
            "+pexpire +unlink +exists +time +wait"
        },
    )
    await check(connect_layer([server.url_for("app", "pw")]))


async def test_tls(
    tls_server: TlsServer, certificates: Certificates, connect_layer: LayerFactory
) -> None:
    authority = str(certificates.authority)
    port = tls_server.port
    for host, options in (
        (f"{tls_server.url}?ssl_ca_certs={authority}", {}),
        (tls_server.url, {"ssl_ca_certs": authority}),
        (f"rediss://localhost:{port}", {"ssl_ca_certs": authority}),
        (("127.0.0.1", port), {"ssl": True, "ssl_ca_certs": authority}),
        ({"host": "127.0.0.1", "port": port, "ssl": True, "ssl_ca_certs": authority}, {}),
        (f"{tls_server.url}?ssl_cert_reqs=none&ssl_check_hostname=false", {}),
        (
            tls_server.url,
            {
                "ssl_ca_certs": authority,
                "ssl_certfile": os.fspath(certificates.client),
                "ssl_keyfile": os.fspath(certificates.client_key),
            },
        ),
    ):
        await check(connect_layer([host], connection_kwargs=options))
