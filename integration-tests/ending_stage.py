"""What a row of the table of endings is, and what it is played with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self, TypeAlias, TypedDict, Unpack

from clients import RawClient, open_websocket
from serving import Report, Server
from websockets.sync.client import ClientConnection

PERHAPS: Final = "1005, 1012 or nothing"
"""What an application is told by a server that ends without a word, but not always at once."""

PROMPTLY: Final = 2.0
"""Seconds. A tenth of one is what is wanted, and takes no test that may run on a busy machine."""


@dataclass(frozen=True)
class Outcome:
    """What the client sees, and what ``disconnect()`` is given."""

    seen: str
    told: str

    def __str__(self) -> str:
        return f"{self.seen} / {self.told}"


@dataclass
class Stage:
    """One client of one server."""

    server: Server
    name: str
    client_id: str

    def of(self, client: str) -> Self:
        """The same for another client."""
        return replace(self, client_id=f"{self.client_id}-{client}")

    def path(self, route: str = "ending", **query: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in query.items())
        return f"/{route}?id={self.client_id}{more}"

    def open(self, route: str = "ending", **query: str) -> ClientConnection:
        """A client with good manners."""
        return open_websocket(self.server, self.path(route, **query))

    def open_raw(self, route: str = "ending") -> RawClient:
        """A client that answers nothing."""
        client = RawClient(self.server, self.path(route))
        client.wait_until_accepted()
        return client

    def wait_for(self, what: str) -> Report:
        return self.server.reports.wait_for(what, id=self.client_id)[0]

    def disconnected(self) -> Report:
        """The report of the one disconnect, checked; the application's call has returned."""
        self.wait_for("returned")
        (report,) = self.server.reports.find("disconnect", id=self.client_id)
        assert (report["times"], report["channel_open"], report["groups"]) == (1, False, [])
        assert report["delay"] < PROMPTLY
        return report

    def has_disconnected(self) -> bool:
        # Its answer comes after what the application did at once.
        self.server.control()
        return bool(self.server.reports.find("disconnect", id=self.client_id))


Play: TypeAlias = Callable[[Stage], str]


@dataclass(frozen=True)
class Ending:
    """A row. ``but``: the servers where the outcome is another one."""

    title: str
    play: Play
    outcome: Outcome
    but: Mapping[str, Outcome] = field(default_factory=dict[str, Outcome])
    logs: Sequence[str] = ()
    """The exceptions that the library logs, because the application raised them."""
    options: Mapping[str, Sequence[str]] | None = None
    """If given, the server's process serves this row alone, with these options; servers that are
    not named know no such ending."""
    absent: Collection[str] = ()
    """More servers that know no such ending."""
    complaints: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a server prints of it, in part, because the application or Fast Channels wanted that."""
    chatter: Collection[str] = ()
    """The servers that print something of their own making."""
    warning: str | None = None
    """A part of the warning that the library may log, which it does at most once a second."""

    def __str__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        return self.play.__name__

    def happens_on(self, server: str) -> bool:
        return server not in self.absent and (self.options is None or server in self.options)

    def expected(self, server: str) -> Outcome:
        return self.but.get(server, self.outcome)

    def may_log(self, log: Report) -> bool:
        return self.warning is not None and self.warning in log["text"]


class More(TypedDict, total=False):
    """The rest of an :class:`Ending`, by keyword."""

    logs: Sequence[str]
    options: Mapping[str, Sequence[str]]
    absent: Collection[str]
    complaints: Mapping[str, str]
    chatter: Collection[str]
    warning: str


ENDINGS: Final[list[Ending]] = []
"""In the order of the table."""


def ending(
    title: str,
    seen: str,
    told: str,
    *,
    but: Mapping[str, tuple[str, str]] | None = None,
    **more: Unpack[More],
) -> Callable[[Play], Play]:
    """Make a row of a function that plays the client and returns what it saw."""

    def add(play: Play) -> Play:
        others = {server: Outcome(*outcome) for server, outcome in (but or {}).items()}
        ENDINGS.append(Ending(title, play, Outcome(seen, told), others, **more))
        return play

    return add
