"""What a node listens to, over all its servers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from fast_channels_redis._endpoint import Endpoint
from fast_channels_redis._keeper import Incidents
from fast_channels_redis._sharding import shard_of
from fast_channels_redis._subscriber import Subscriber


class Listeners(ABC):
    """The connections that listen to Redis channels. The name of one decides the server."""

    @property
    @abstractmethod
    def are_whole(self) -> bool:
        """Whether none of the connections is broken."""

    @abstractmethod
    async def start(self) -> None:
        """Listen to all names; :class:`OSError` if a server cannot be reached."""

    @abstractmethod
    async def close(self) -> None:
        """Never raises; may be called again."""

    @abstractmethod
    async def subscribe(self, name: str) -> None:
        """Return when it is confirmed; :class:`OSError` if it is not."""

    @abstractmethod
    async def unsubscribe(self, name: str) -> None: ...


class HostListeners(Listeners):
    """One connection to each of the servers, which know nothing of each other."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        patience: float,
        incidents: Incidents,
        *,
        names: Callable[[], Iterable[str]],
        deliver: Callable[[bytes, bytes], None],
        missed: Callable[[Callable[[str], bool]], None],
    ) -> None:
        """``names``: everything that is wanted. ``missed``: called with which names it concerns
        when something may have been missed."""
        self._subscribers: list[Subscriber] = []
        for index, endpoint in enumerate(endpoints):
            owns = partial(_owns, index, len(endpoints))
            self._subscribers.append(
                Subscriber(
                    endpoint,
                    patience,
                    incidents,
                    names=partial(_wanted, names, owns),
                    deliver=deliver,
                    returned=partial(missed, owns),
                )
            )

    @property
    def are_whole(self) -> bool:
        return not any(subscriber.is_broken for subscriber in self._subscribers)

    async def start(self) -> None:
        for subscriber in self._subscribers:
            await subscriber.start()

    async def close(self) -> None:
        for subscriber in self._subscribers:
            await subscriber.close()

    async def subscribe(self, name: str) -> None:
        await self._for(name).subscribe(name.encode())

    async def unsubscribe(self, name: str) -> None:
        await self._for(name).unsubscribe(name.encode())

    def _for(self, name: str) -> Subscriber:
        return self._subscribers[shard_of(name, len(self._subscribers))]


def _owns(index: int, count: int, name: str) -> bool:
    return shard_of(name, count) == index


def _wanted(names: Callable[[], Iterable[str]], owns: Callable[[str], bool]) -> Iterable[bytes]:
    return (name.encode() for name in names() if owns(name))
