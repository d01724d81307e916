"""Every ending of a WebSocket, on every server, with every layer.

How each is brought about and what is to come of it is in ending_rows.py. What was seen makes the
table in docs/concepts/endings.md; how long it took goes to artifacts/endings.json.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from secrets import token_hex
from typing import Final

import ending_rows as ending_rows  # fills the table
import pytest
from ending_stage import ENDINGS, PERHAPS, Ending, Outcome, Stage
from ending_table import UPDATE, Seen, table_in_the_docs
from redis_servers import RedisServer, wait_until
from redis_servers._binaries import chosen_names
from redis_servers.fixtures import binary_or_skip
from serving import COMMANDS, Server, running

APP = "endings:application"

IN_MEMORY: Final = "fast_channels.layers.InMemoryChannelLayer"
LAYERS: Final = (
    IN_MEMORY,
    "fast_channels.layers.redis.RedisPubSubChannelLayer",
    "fast_channels.layers.redis.RedisChannelLayer",
)

CUT_SHORT: Final = ("daphne", "granian")
"""Servers whose end does not wait for connections: the one has no lifespan, the other no order."""


@dataclass
class House:
    """A server, of which processes are started, and the layer that they have."""

    server: str
    layer: str
    redis: RedisServer | None = None

    def __str__(self) -> str:
        return f"{self.server} {self.layer.rpartition('.')[2].removesuffix('ChannelLayer')}"

    def start(self, folder: Path, *options: str) -> "Room":
        prefix = token_hex(4)
        config: dict[str, object] = {"capacity": 10}
        if self.redis is not None:
            config |= {"hosts": [self.redis.url], "linger": 0.01, "prefix": prefix}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAYER", self.layer)
            patch.setenv("LAYER_CONFIG", json.dumps(config))
            return Room(self, running(self.server, APP, folder, *options), prefix)


@dataclass
class Room:
    """A process of a server, and its names in Redis."""

    house: House
    server: Server
    prefix: str

    def is_empty(self) -> None:
        """Nothing is left of any connection in the process."""
        contents = self.server.control()
        assert contents["channels"] == contents["groups"] == []

    def redis_has_no_groups(self) -> None:
        """A moment later, as the layer gives up groups in the background."""
        if self.house.redis is not None:
            wait_until(lambda: not self._groups_in_redis(), "Redis has no groups")

    def every_client_disconnected_once(self) -> None:
        opened = self.server.reports.find("opened")
        disconnected = self.server.reports.wait_for("disconnect", count=len(opened))
        assert sorted(each["id"] for each in disconnected) == sorted(each["id"] for each in opened)

    def _groups_in_redis(self) -> list[str]:
        assert self.house.redis is not None
        execute = self.house.redis.execute
        names: list[str] = [*execute("KEYS", "*"), *execute("PUBSUB", "CHANNELS")]
        return [name for name in names if name.startswith(self.prefix) and "ending" in name]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(binary_or_skip(chosen_names()[0])) as server:
        yield server.start()


@pytest.fixture(
    scope="module",
    params=[House(*each) for each in product(COMMANDS, LAYERS)],
    ids=lambda house: str(house).replace(" ", "-"),
)
def house(request: pytest.FixtureRequest) -> House:
    house: House = request.param
    if house.layer != IN_MEMORY:
        house.redis = request.getfixturevalue("redis")
    return house


@pytest.fixture(scope="module")
def shared(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    room = house.start(tmp_path_factory.mktemp("server"))
    with room.server as server:
        yield room
        room.is_empty()
        room.redis_has_no_groups()
        server.stop()
        assert server.new_output() == ""
        room.every_client_disconnected_once()


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


def skip_what_does_not_happen(row: Ending, house: House) -> None:
    if not row.happens_on(house.server):
        pytest.skip(f"{house.server} knows no such ending: {row.title}")


def observe(row: Ending, room: Room, seen: Seen) -> None:
    """Play the row and compare what came of it."""
    name, server = room.house.server, room.server
    stage = Stage(server, name, row.id)
    expected = row.expected(name)
    saw, told = row.play(stage), PERHAPS
    if expected.told == PERHAPS:
        assert {each["code"] for each in server.reports.find("disconnect")} <= {1005, 1012}
    else:
        report = stage.disconnected()
        told = str(report["code"])
        seen.add_delay(row, str(room.house), report["delay"])
    outcome = Outcome(saw, told)
    if room.house.layer == IN_MEMORY:
        seen.add(row, name, outcome)
    assert outcome == expected


def nobody_complains(row: Ending, room: Room) -> None:
    name, server = room.house.server, room.server
    logs = server.reports.new_logs(expected=len(row.logs))
    assert [log["error"] or log["text"] for log in logs if not row.may_log(log)] == [*row.logs]
    output = server.new_output()
    if name in row.chatter:
        assert "fast_channels" not in output
    elif (complaint := row.complaints.get(name)) is not None:
        assert complaint in output
    else:
        assert output == ""


@pytest.mark.parametrize("row", [row for row in ENDINGS if row.options is None], ids=str)
def test_ending(row: Ending, house: House, shared: Room, seen: Seen) -> None:
    skip_what_does_not_happen(row, house)
    observe(row, shared, seen)
    shared.server.control()  # its answer comes after what the end left to be done
    nobody_complains(row, shared)


@pytest.mark.parametrize("row", [row for row in ENDINGS if row.options is not None], ids=str)
def test_ending_of_a_server_of_its_own(
    row: Ending, house: House, seen: Seen, tmp_path: Path
) -> None:
    skip_what_does_not_happen(row, house)
    assert row.options is not None
    room = house.start(tmp_path, *row.options[house.server])
    with room.server as server:
        observe(row, room, seen)
        if server.process.poll() is None:
            room.is_empty()
            server.stop()
        elif house.server not in CUT_SHORT:
            (last,) = server.reports.wait_for("shutdown")
            assert last["channels"] == last["groups"] == []
        nobody_complains(row, room)
        if row.expected(house.server).told != PERHAPS:
            room.every_client_disconnected_once()


def test_table_in_the_docs(seen: Seen) -> None:
    """The last, after all that it depends on."""
    if seen.missing:
        pytest.skip(f"needs all of the tests above; {len(seen.missing)} cells were not seen")
    seen.write_figures()
    table = seen.table()
    assert table == table_in_the_docs(table), f"run these tests again with {UPDATE}=1"
