"""A master, its two replicas, and three Sentinels that watch them."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Final, Self, TypedDict, Unpack, cast

from ._binaries import Binary
from ._process import HOST, ServerProcess
from ._server import RedisServer
from ._wait import wait_until

# What a Sentinel does every 1, 2 or 10 s it does more often, which that of Redis 6.2 cannot; and
# when the machine stands still for a moment it does not stop for 30 s.
_HASTE: Final = (
    *("info-period", 500),
    *("ping-period", 400),
    *("publish-period", 200),
    *("tilt-trigger", 60_000),
)


def down_after(binary: Binary) -> int:
    """Milliseconds without an answer after which a Sentinel takes a server to be down.

    It connects to a new master up to a ping period late, and must not take it to be down by then.
    """
    return 1000 if binary.version >= (7,) else 1500


class TrioOptions(TypedDict, total=False):
    name: str
    """Of the master, as Sentinel knows it."""
    password: str
    """Of the data servers."""
    sentinel_password: str
    config: dict[str, object]
    """More lines for the configuration of each data server."""


class Sentinel(ServerProcess):
    def __init__(self, trio: "SentinelTrio", number: int, password: str | None) -> None:
        super().__init__(trio.binary, password=password)
        self._trio = trio
        self.id = f"{number:040x}"

    def arguments(self) -> Iterable[str]:
        return ["--sentinel"]

    def directives(self) -> Iterable[str]:
        yield from super().directives()
        name = self._trio.name
        yield f"sentinel myid {self.id}"
        yield f"sentinel monitor {name} {HOST} {self._trio.servers[0].port} 2"
        yield f"sentinel down-after-milliseconds {name} {down_after(self.binary)}"
        yield f"sentinel failover-timeout {name} 3000"
        yield f"sentinel parallel-syncs {name} 2"
        if self._trio.password is not None:
            yield f'sentinel auth-pass {name} "{self._trio.password}"'
        if self.password is not None:
            yield f'sentinel sentinel-pass "{self.password}"'
        # They would find each other within some seconds.
        for other in self._trio.sentinels:
            if other is not self:
                yield f"sentinel known-sentinel {name} {HOST} {other.port} {other.id}"

    def start(self) -> Self:
        super().start()
        if self.binary.version >= (7,):
            self.execute("SENTINEL", "DEBUG", *_HASTE)
        return self

    def master_port(self) -> int:
        """The port of the master as this Sentinel sees it."""
        _, port = self.execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._trio.name)
        return int(port)

    def sees_all(self) -> bool:
        """Whether the master, two replicas and the other Sentinels are there, and it knows so."""
        name = self._trio.name
        # What another Sentinel says of the master is asked for only when that is down.
        instances = [
            _pairs(self.execute("SENTINEL", "MASTER", name)),
            *map(_pairs, self.execute("SENTINEL", "REPLICAS", name)),
            *map(_pairs, self.execute("SENTINEL", "SENTINELS", name)),
        ]
        flags = sorted(each["flags"].removesuffix(",master_down") for each in instances)
        return flags == ["master", "sentinel", "sentinel", "slave", "slave"] and all(
            instance.get("master-link-status", "ok") == "ok" for instance in instances
        )


def _in_sync(replica: RedisServer) -> bool:
    return replica.info("replication")["master_link_status"] == "up"


def _pairs(reply: object) -> dict[str, str]:
    fields = iter(cast("list[str]", reply))
    return dict(zip(fields, fields, strict=True))


class SentinelTrio:
    def __init__(self, binary: Binary, **options: Unpack[TrioOptions]) -> None:
        self.binary = binary
        self.name = options.get("name", "mymaster")
        self.password = options.get("password")
        self._running = ExitStack()
        config = options.get("config", {})
        self.servers = [self._server({**config}) for _ in range(3)]
        """The first was the master at the start."""
        self.sentinels: list[Sentinel] = []
        for number in range(1, 4):
            sentinel = Sentinel(self, number, options.get("sentinel_password"))
            self.sentinels.append(self._running.enter_context(sentinel))

    def _server(self, config: dict[str, object]) -> RedisServer:
        if self.password is None:
            server = RedisServer(self.binary, config=config)
        else:
            config["masterauth"] = f'"{self.password}"'
            server = RedisServer(self.binary, config=config, password=self.password)
        return self._running.enter_context(server)

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        """Of the Sentinels."""
        return [sentinel.address for sentinel in self.sentinels]

    def start(self) -> Self:
        """Start them all, and wait until each Sentinel knows all of them."""
        master, *replicas = self.servers
        master.start()
        for replica in replicas:
            replica.start()
            replica.execute("REPLICAOF", HOST, master.port)
        wait_until(lambda: all(map(_in_sync, replicas)), "the replicas are in sync")
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_until_complete()
        return self

    def wait_until_complete(self) -> None:
        """Wait until each Sentinel sees a master, two replicas in sync and two other Sentinels,
        and the master counts both replicas, which it may do later than they say they are."""
        wait_until(
            lambda: all(sentinel.sees_all() for sentinel in self.sentinels),
            "each Sentinel knows all",
        )
        wait_until(
            lambda: self.master.execute("WAIT", "2", "100") == 2, "the master counts both replicas"
        )

    @property
    def master(self) -> RedisServer:
        port = self.master_port()
        return next(server for server in self.servers if server.port == port)

    def master_port(self) -> int:
        """The port of the master as the first Sentinel that runs sees it."""
        return next(each for each in self.sentinels if each.running).master_port()

    def kill_master(self) -> RedisServer:
        """Kill the master and return it. The Sentinels then agree on another one in a while."""
        master = self.master
        master.kill()
        return master

    def failover(self) -> RedisServer:
        """Let the Sentinels make another one the master, with the old one alive; return this.

        It takes itself to be a master until the Sentinels make it a replica, up to 8 s later.
        """
        old = self.master
        next(each for each in self.sentinels if each.running).execute(
            "SENTINEL", "FAILOVER", self.name
        )
        self.wait_for_failover(old)
        return old

    def wait_for_failover(self, old: RedisServer) -> None:
        """Wait until another one is the master, and all Sentinels that run say so."""

        def over() -> bool:
            ports = {each.master_port() for each in self.sentinels if each.running}
            return old.port not in ports and len(ports) == 1 and self._is_master()

        wait_until(over, "the Sentinels agree on another master")

    def _is_master(self) -> bool:
        return self.master.info("replication")["role"] == "master"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._running.close()
