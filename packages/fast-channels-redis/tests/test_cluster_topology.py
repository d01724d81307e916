"""How the answers of a Cluster are understood."""

from typing import Any

import pytest
from redis.exceptions import AskError, MovedError
from redis_servers import slot_of as slot_of_server

from fast_channels_redis._topology import SlotMap, redirected_to, slot_of

ASKED = ("asked", 7000)


NODES: list[tuple[list[Any], tuple[str, int]]] = [
    ([b"10.0.0.1", 7001], ("10.0.0.1", 7001)),
    ([b"10.0.0.1", 7001, b"id"], ("10.0.0.1", 7001)),
    ([b"node.example", 7001, b"id", [b"ip", b"10.0.0.1"]], ("node.example", 7001)),
    ([b"node.example", 7001, b"id", {b"ip": b"10.0.0.1"}], ("node.example", 7001)),
    ([b"", 7001, b"id", []], ("asked", 7001)),
    ([None, 7001, b"id", [b"ip", b"10.0.0.1"]], ("asked", 7001)),
    ([b"?", 7001, b"id", []], ("asked", 7001)),
    ([b"::1", 7001, b"id", []], ("::1", 7001)),
]


@pytest.mark.parametrize(
    ("node", "address"),
    NODES,
    ids=["3.0", "4.0", "host name", "RESP3", "no host", "unknown endpoint", "no name", "IPv6"],
)
def test_the_addresses_of_nodes(node: list[Any], address: tuple[str, int]) -> None:
    found = SlotMap([[0, 99, node]], ASKED)
    assert found.owners[0] == found.owners[99] == address
    assert found.owners[100] is None
    assert found.nodes == {address}


def test_slots_in_pieces_and_replicas() -> None:
    one, two, replica = [b"a", 1, b""], [b"b", 2, b""], [b"c", 3, b""]
    found = SlotMap([[0, 0, one, replica], [1, 16382, two], [16383, 16383, one, replica]], ASKED)
    assert len(found.owners) == 16384
    assert found.owners[0] == found.owners[16383] == ("a", 1)
    assert found.owners[1] == found.owners[16382] == ("b", 2)
    assert found.nodes == {("a", 1), ("b", 2), ("c", 3)}


@pytest.mark.parametrize(
    ("error", "address"),
    [
        (MovedError("3999 127.0.0.1:6381"), ("127.0.0.1", 6381)),
        (AskError("3999 node.example:6381"), ("node.example", 6381)),
        (MovedError("3999 :6381"), ("asked", 6381)),
        (MovedError("3999 ::1:6381"), ("::1", 6381)),
    ],
)
def test_redirections(error: AskError, address: tuple[str, int]) -> None:
    assert redirected_to(error, ASKED) == address


@pytest.mark.parametrize("key", ["key", "a{b}c", "{}a", "{a", "asgi:members:news", "ä"])
def test_slots_of_keys(key: str) -> None:
    assert slot_of(key) == slot_of(key.encode()) == slot_of_server(key)
