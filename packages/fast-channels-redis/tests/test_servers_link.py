import socket
import ssl
from collections.abc import Iterator

import pytest
from redis_servers import Certificates, Proxy, RedisServer, wait_until
from redis_servers.fixtures import TlsServer

DEADLINE = 20


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(proxy.address, DEADLINE)


def ping(link: socket.socket) -> None:
    link.sendall(b"PING\r\n")
    assert link.recv(100) == b"+PONG\r\n"


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.address) as proxy:
        yield proxy


def test_connections_are_cut(proxy: Proxy) -> None:
    with connected(proxy) as link:
        ping(link)
        assert proxy.connections == 1
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with connected(proxy) as link:
        ping(link)
    assert proxy.accepted == 2
    wait_until(lambda: proxy.connections == 0, "the proxy sees that the client has left")


def test_connections_are_refused(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError), connected(proxy):
        pass
    proxy.accept()
    with connected(proxy) as link:
        ping(link)


def test_nothing_passes_a_black_hole(proxy: Proxy, redis_server: RedisServer) -> None:
    with connected(proxy) as link:
        ping(link)
        proxy.blackhole(requests=False)
        link.sendall(b"SET key value\r\n")
        wait_until(lambda: redis_server.execute("GET", "key") == "value", "the request is there")
        link.settimeout(0.1)
        with pytest.raises(TimeoutError):
            link.recv(1)
        link.settimeout(DEADLINE)
        proxy.heal()
        assert link.recv(100) == b"+OK\r\n"


def test_a_delay_keeps_the_order(proxy: Proxy) -> None:
    with connected(proxy) as link:
        proxy.delay = 0.1
        link.sendall(b"ECHO 1\r\n")
        link.settimeout(0.05)
        with pytest.raises(TimeoutError):
            link.recv(1)
        link.settimeout(DEADLINE)
        proxy.delay = 0.0
        link.sendall(b"ECHO 2\r\n")
        received = b""
        while len(received) < 14:
            received += link.recv(100)
        assert received == b"$1\r\n1\r\n$1\r\n2\r\n"


def test_the_end_of_a_server_reaches_the_client(proxy: Proxy) -> None:
    with connected(proxy) as link:
        link.sendall(b"QUIT\r\n")
        assert link.recv(100) == b"+OK\r\n"
        assert link.recv(1) == b""


def test_tls(tls_server: TlsServer, certificates: Certificates) -> None:
    context = certificates.client_context()
    assert tls_server.url == f"rediss://127.0.0.1:{tls_server.port}"
    with (
        socket.create_connection(("127.0.0.1", tls_server.port), DEADLINE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as link,
    ):
        ping(link)
    with (
        socket.create_connection(("127.0.0.1", tls_server.port), DEADLINE) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
