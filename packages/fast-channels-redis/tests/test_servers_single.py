"""The servers that other tests run on do what those tests rely on."""

import pytest
from redis_servers import Binary, RedisServer, ServerError
from redis_servers._binaries import wanted_names
from redis_servers._client import call
from redis_servers.fixtures import ServerFactory, binary_or_skip


@pytest.mark.parametrize("name", wanted_names())
def test_the_wanted_programs_are_installed(name: str) -> None:
    assert binary_or_skip(name).version >= (6, 2)


def test_the_chosen_program_runs(redis_binary: Binary, redis_server: RedisServer) -> None:
    info = redis_server.info("server")
    version = info.get("valkey_version") or info["redis_version"]
    assert version == ".".join(map(str, redis_binary.version))


def test_the_shared_server_is_empty(redis_server: RedisServer) -> None:
    assert redis_server.execute("DBSIZE") == 0
    redis_server.execute("SET", "key", b"\xff")
    assert redis_server.execute("GET", "key").encode(errors="surrogateescape") == b"\xff"


def test_a_restart_loses_what_is_not_kept(own_server: ServerFactory) -> None:
    server = own_server()
    port = server.port
    server.execute("SET", "key", "value")
    server.kill()
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        server.execute("PING")
    server.start()
    assert server.port == port
    assert server.execute("GET", "key") is None

    server.execute("SET", "key", "value")
    server.save()
    assert server.restart().execute("GET", "key") == "value"


def test_an_append_only_file_survives_a_kill(own_server: ServerFactory) -> None:
    server = own_server(appendonly=True)
    server.execute("SET", "key", "value")
    assert server.restart().execute("GET", "key") == "value"
    assert server.restart(keep_data=False).execute("GET", "key") is None


def test_a_frozen_server_answers_later(own_server: ServerFactory) -> None:
    server = own_server()
    server.freeze()
    with pytest.raises(TimeoutError):
        call(server.address, "PING", timeout=0.1)
    server.thaw()
    assert server.execute("PING") == "PONG"
    server.freeze()
    server.stop()
    assert not server.running


def test_options(own_server: ServerFactory) -> None:
    server = own_server(
        password="p:@/",
        users={"app": "on >secret ~* &* +@all"},
        unix_socket=True,
        config={"maxclients": 20},
    )
    assert server.url == f"redis://:p%3A%40%2F@127.0.0.1:{server.port}"
    assert server.url_for("app", "secret") == f"redis://app:secret@127.0.0.1:{server.port}"
    assert server.execute("CONFIG", "GET", "maxclients") == ["maxclients", "20"]
    assert server.execute("AUTH", "app", "secret") == "OK"
    with pytest.raises(ServerError, match="NOAUTH"):
        call(server.address, "PING")


def test_counting_commands(own_server: ServerFactory) -> None:
    server = own_server(password="secret")
    assert not server.command_counts()
    with server.counting() as counts:
        server.execute("SET", "key", "value")  # its own calls do not count
        call(server.address, "GET", "key", password="secret")
        call(server.address, "CONFIG", "GET", "port", password="secret")
    assert counts == {"auth": 2, "get": 1, "config": 1}
    assert server.command_counts() == counts
    server.restart()
    assert not server.command_counts()


def test_a_server_that_cannot_start_tells_why(own_server: ServerFactory) -> None:
    with pytest.raises(RuntimeError, match="no-such-option"):
        own_server(config={"no-such-option": 1})
