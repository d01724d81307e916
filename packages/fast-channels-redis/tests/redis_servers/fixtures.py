"""Fixtures for both folders of tests; each conftest imports those that it offers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Unpack

import pytest

from ._binaries import Binary, BinaryNotFoundError, chosen_names, find_binary, required
from ._cluster import Cluster, ClusterOptions
from ._proxy import Proxy
from ._sentinel import SentinelTrio, TrioOptions
from ._server import Options, RedisServer
from ._tls import Certificates


class ServerFactory(Protocol):
    """Starts a server as often as it is called."""

    def __call__(self, **options: Unpack[Options]) -> RedisServer: ...


@pytest.fixture(scope="session", params=chosen_names())
def redis_binary(request: pytest.FixtureRequest) -> Binary:
    """Each of the server programs that the tests are to run on."""
    return binary_or_skip(request.param)


def binary_or_skip(name: str) -> Binary:
    """The program; one that is missing is reported, or an error where it is required."""
    try:
        return find_binary(name)
    except BinaryNotFoundError as error:
        if required():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_redis_server(redis_binary: Binary) -> Iterator[RedisServer]:
    with RedisServer(redis_binary) as server:
        yield server.start()


@pytest.fixture
def redis_server(shared_redis_server: RedisServer) -> RedisServer:
    """A server that is empty and used by all tests: not to be stopped or configured."""
    shared_redis_server.execute("FLUSHALL")
    shared_redis_server.reset_counts()
    return shared_redis_server


@pytest.fixture
def own_server(redis_binary: Binary) -> Iterator[ServerFactory]:
    """Starts servers for this test alone."""
    servers: list[RedisServer] = []

    def start(**options: Unpack[Options]) -> RedisServer:
        server = RedisServer(redis_binary, **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


class TrioFactory(Protocol):
    """Starts a master with replicas and Sentinels as often as it is called."""

    def __call__(self, **options: Unpack[TrioOptions]) -> SentinelTrio: ...


@pytest.fixture
def own_trio(redis_binary: Binary) -> Iterator[TrioFactory]:
    """Starts masters with replicas and Sentinels, with options."""
    trios: list[SentinelTrio] = []

    def start(**options: Unpack[TrioOptions]) -> SentinelTrio:
        trio = SentinelTrio(redis_binary, **options)
        trios.append(trio)
        return trio.start()

    yield start
    for trio in trios:
        trio.close()


@pytest.fixture
def sentinel_trio(own_trio: TrioFactory) -> SentinelTrio:
    """A master, two replicas and three Sentinels for this test alone."""
    return own_trio()


def _needs_sharded_pubsub(binary: Binary) -> None:
    if not binary.sharded_pubsub:
        pytest.skip("sharded pub/sub needs Redis 7")


@pytest.fixture(scope="session")
def shared_redis_cluster(redis_binary: Binary) -> Iterator[Cluster]:
    _needs_sharded_pubsub(redis_binary)
    with Cluster(redis_binary) as cluster:
        yield cluster.start()


@pytest.fixture
def redis_cluster(shared_redis_cluster: Cluster) -> Cluster:
    """A Cluster that is empty and complete. Tests may kill nodes and move slots."""
    shared_redis_cluster.restore()
    return shared_redis_cluster


class ClusterFactory(Protocol):
    """Starts a Cluster as often as it is called."""

    def __call__(self, **options: Unpack[ClusterOptions]) -> Cluster: ...


@pytest.fixture
def own_cluster(redis_binary: Binary) -> Iterator[ClusterFactory]:
    """Starts Clusters with options, for this test alone."""
    _needs_sharded_pubsub(redis_binary)
    clusters: list[Cluster] = []

    def start(**options: Unpack[ClusterOptions]) -> Cluster:
        cluster = Cluster(redis_binary, **options)
        clusters.append(cluster)
        return cluster.start()

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@dataclass(frozen=True)
class TlsServer:
    server: RedisServer
    port: int
    certificates: Certificates

    @property
    def url(self) -> str:
        return f"rediss://{self.server.host}:{self.port}"


@pytest.fixture
def tls_server(
    redis_binary: Binary, own_server: ServerFactory, certificates: Certificates
) -> Iterator[TlsServer]:
    """A server that speaks TLS: by itself if its program can, else a proxy does."""
    if redis_binary.tls:
        server = own_server(tls=certificates)
        assert server.tls_port is not None
        yield TlsServer(server, server.tls_port, certificates)
        return
    server = own_server()
    with Proxy(server.address, certificates.server_context()) as proxy:
        yield TlsServer(server, proxy.port, certificates)
