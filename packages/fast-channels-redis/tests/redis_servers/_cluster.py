"""A Cluster of three primaries with a replica each."""

from binascii import crc_hqx
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import permutations
from typing import Final, Self, TypedDict, Unpack

from ._binaries import Binary
from ._process import HOST
from ._server import Options, RedisServer
from ._tls import Certificates
from ._wait import DEADLINE, wait_until

SLOTS: Final = 16384
NODE_TIMEOUT: Final = 1500
"""Milliseconds. The others take a node to be dead after it."""
_FAILOVER_GIVEN_UP: Final = 6
"""Seconds. A replica gives up after five if a message about it was lost, and must be told again."""


class ClusterOptions(TypedDict, total=False):
    password: str
    tls: Certificates
    """Speak TLS, too: to clients at each node's ``tls_port``, and between the nodes."""
    config: dict[str, object]
    """More lines for the configuration of each node."""


def slot_of(key: str) -> int:
    """The slot of a key or of a channel of sharded pub/sub."""
    start = key.find("{")
    end = key.find("}", start + 1)
    if start >= 0 and end > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key.encode(), 0) % SLOTS


@dataclass(frozen=True)
class NodeView:
    """What a node says of one of them, itself included."""

    id: str
    port: int
    flags: frozenset[str]
    primary: str
    epoch: int
    connected: bool
    slots: frozenset[int]

    @classmethod
    def parse(cls, line: str) -> Self:
        id_, address, flags, primary, _, _, epoch, link, *ranges = line.split()
        slots = set[int]()
        for each in ranges:
            if not each.startswith("["):  # a slot that is on its way
                first, _, last = each.partition("-")
                slots.update(range(int(first), int(last or first) + 1))
        port = int(address.partition("@")[0].rpartition(":")[2])
        return cls(
            id_,
            port,
            frozenset(flags.split(",")),
            primary,
            int(epoch),
            link == "connected",
            frozenset(slots),
        )


def views_of(node: RedisServer) -> list[NodeView]:
    """All nodes as this one sees them."""
    return [NodeView.parse(line) for line in node.execute("CLUSTER", "NODES").splitlines()]


def _myself(node: RedisServer) -> NodeView:
    return next(view for view in views_of(node) if "myself" in view.flags)


class Cluster:
    """It has to have a server program of Redis 7 or newer."""

    def __init__(self, binary: Binary, **options: Unpack[ClusterOptions]) -> None:
        self.binary = binary
        self.password = options.get("password")
        config: dict[str, object] = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": NODE_TIMEOUT,
            "cluster-replica-validity-factor": 0,
            **options.get("config", {}),
        }
        node_options: Options = {"config": config}
        if self.password is not None:
            config["masterauth"] = f'"{self.password}"'
            node_options["password"] = self.password
        if "tls" in options:
            config |= {"tls-cluster": "yes", "tls-replication": "yes"}
            node_options["tls"] = options["tls"]
        self._running = ExitStack()
        self.nodes = [
            self._running.enter_context(RedisServer(binary, **node_options)) for _ in range(6)
        ]

    def start(self) -> Self:
        """Start the nodes, join them, and wait until all of them see the whole Cluster."""
        for node in self.nodes:
            node.start()
        primaries, replicas = self.nodes[:3], self.nodes[3:]
        bounds = [0, SLOTS // 3, SLOTS * 2 // 3, SLOTS]
        for number, node in enumerate(self.nodes):
            node.execute("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(primaries):
            node.execute("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
        for node, other in permutations(self.nodes, 2):  # two would do, with some gossip
            node.execute("CLUSTER", "MEET", HOST, _port(other))
        wait_until(lambda: all(map(_knows_all, self.nodes)), "the nodes know each other")
        for primary, replica in zip(primaries, replicas, strict=True):
            replica.execute("CLUSTER", "REPLICATE", _myself(primary).id)
        self.wait_until_ok()
        return self

    @property
    def running(self) -> Sequence[RedisServer]:
        return [node for node in self.nodes if node.running]

    @property
    def addresses(self) -> Sequence[tuple[str, int]]:
        return [node.address for node in self.nodes]

    @property
    def url(self) -> str:
        """Of a node that runs."""
        return self.running[0].url.replace("redis://", "redis+cluster://")

    @property
    def tls_url(self) -> str:
        """Of a node that runs, if the option ``tls`` was given."""
        return self.running[0].tls_url.replace("rediss://", "rediss+cluster://")

    def command_counts(self) -> Counter[str]:
        """Those of all nodes that run, summed."""
        return sum((node.command_counts() for node in self.running), Counter[str]())

    def primary_of(self, slot: int) -> RedisServer:
        """The node that takes itself to serve the slot; if several do, the one that wins."""
        views = [_myself(node) for node in self.running]
        owners = [view for view in views if slot in view.slots]
        if not owners:
            raise LookupError(f"no node that runs has slot {slot}")
        return self._by_port(max(owners, key=lambda view: view.epoch).port)

    def node_for(self, key: str) -> RedisServer:
        """The primary of a key or of a channel of sharded pub/sub."""
        return self.primary_of(slot_of(key))

    def replicas_of(self, slot: int) -> Sequence[RedisServer]:
        """The replicas that run of the slot's primary."""
        primary = self.primary_of(slot)
        id_ = _myself(primary).id
        return [node for node in self.running if _myself(node).primary == id_]

    def _by_port(self, port: int) -> RedisServer:
        return next(node for node in self.nodes if node.port == port)

    def kill_primary_of(self, slot: int) -> RedisServer:
        """Kill a primary and return it. Its replica takes its place in some seconds."""
        primary = self.primary_of(slot)
        primary.kill()
        return primary

    def wait_for_failover(self, slot: int, old: RedisServer, deadline: float = DEADLINE) -> None:
        """Wait until all nodes that run know another primary of the slot than the old one."""

        def over() -> bool:
            return self._agree() and self._owner(self.running[0], slot) != old.port

        wait_until(over, f"slot {slot} has another primary", deadline=deadline)

    def failover(self, slot: int) -> RedisServer:
        """Let a primary and its replica change places; return the old primary."""
        old = self.primary_of(slot)
        replica = self.replicas_of(slot)[0]
        for _ in range(5):
            replica.execute("CLUSTER", "FAILOVER")
            try:
                self.wait_for_failover(slot, old, _FAILOVER_GIVEN_UP)
            except TimeoutError:
                continue
            return old
        raise TimeoutError(f"the replica of slot {slot} did not become its primary")

    def migrate_slot(self, slot: int, to: RedisServer | None = None) -> RedisServer:
        """Move a slot with its keys to a primary, by default to any other one; return this."""
        target = to or next(
            node
            for node in self.running
            if "master" in _myself(node).flags and node is not self.primary_of(slot)
        )
        self.start_migration(slot, target)
        self.move_keys(slot, target)
        self.finish_migration(slot, target)
        return target

    def start_migration(self, slot: int, to: RedisServer) -> None:
        """Let the slot's primary answer ASK for keys that it does not have."""
        source = self.primary_of(slot)
        to.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", _myself(source).id)
        source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", _myself(to).id)

    def move_keys(self, slot: int, to: RedisServer) -> None:
        """Move all keys of a slot that is migrating."""
        source = self.primary_of(slot)
        login = () if self.password is None else ("AUTH", self.password)
        while keys := source.execute("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.execute("MIGRATE", HOST, _port(to), "", 0, 5000, *login, "KEYS", *keys)

    def finish_migration(self, slot: int, to: RedisServer) -> None:
        """Make the target the slot's primary, and wait until all nodes say so."""
        source = self.primary_of(slot)
        id_ = _myself(to).id
        for node in (to, source):
            node.execute("CLUSTER", "SETSLOT", slot, "NODE", id_)
        wait_until(
            lambda: all(self._owner(node, slot) == to.port for node in self.running),
            f"all nodes know the new primary of slot {slot}",
        )

    def _owner(self, node: RedisServer, slot: int) -> int | None:
        return next((view.port for view in views_of(node) if slot in view.slots), None)

    def wait_until_ok(self) -> None:
        """Wait until every node runs well, in the eyes of all of them."""
        wait_until(lambda: self._agree() and self._complete(), "the Cluster is complete")

    def _agree(self) -> bool:
        """Whether all nodes that run serve, and see the same primaries."""
        seen = {frozenset(_owners(views_of(node))) for node in self.running}
        return len(seen) == 1 and all(
            node.info_of_cluster()["cluster_state"] == "ok" for node in self.running
        )

    def _complete(self) -> bool:
        bad = {"fail", "fail?", "handshake", "noaddr"}
        replicas = 0
        for node in self.nodes:
            if any(bad & view.flags or not view.connected for view in views_of(node)):
                return False
            replication = node.info("replication")
            replicas += replication.get("master_link_status") == "up"
        return replicas == 3

    def restore(self) -> None:
        """Start the nodes that do not run, wait until all is well, and remove all keys."""
        for node in self.nodes:
            if not node.running:
                node.start()
            elif node.frozen:
                node.thaw()
        self.wait_until_ok()
        for node in self.nodes:
            if "master" in _myself(node).flags:
                node.execute("FLUSHALL")
            node.reset_counts()

    def close(self) -> None:
        self._running.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _port(node: RedisServer) -> int:
    """Where other nodes reach it."""
    return node.tls_port or node.port


def _owners(views: Iterable[NodeView]) -> Iterable[tuple[int, frozenset[int]]]:
    return ((view.port, view.slots) for view in views if view.slots)


def _knows_all(node: RedisServer) -> bool:
    views = views_of(node)
    return len(views) == 6 and not any("handshake" in view.flags for view in views)
