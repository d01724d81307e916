"""What an assertion looks for among the messages that were sent."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fast_channels.types import Message
from fast_channels_testing._shorten import make_shortener

_MISSING = object()

_shorten = make_shortener(levels=4)


class Sent(Protocol):
    """A message that was sent, and where to."""

    @property
    def aliases(self) -> tuple[str, ...]: ...
    @property
    def group(self) -> str | None: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def message(self) -> Message: ...


S = TypeVar("S", bound=Sent)


def render(fields: Mapping[str, Any]) -> str:
    """The fields of a message on one line, as keyword arguments."""
    return ", ".join(f"{name}={_shorten.repr(value)}" for name, value in fields.items())


@dataclass(frozen=True)
class Wanted:
    """Where to and with which fields; None stands for anywhere."""

    group: str | None
    channel: str | None
    alias: str | None
    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.group is not None and self.channel is not None:
            raise TypeError(
                f"a message goes to a group or to a channel, got group {self.group!r} and "
                f"channel={self.channel!r}; a field of that name goes into a mapping: "
                "assert_sent('room', {'channel': ...})"
            )

    def is_met_by(self, sent: Sent) -> bool:
        return not any(self.differences(sent))

    def differences(self, sent: Sent) -> Iterator[str]:
        """What would have to be different, a line for each."""
        for name in ("group", "channel"):
            expected, actual = getattr(self, name), getattr(sent, name)
            if expected is not None and expected != actual:
                yield f"{name}: expected {expected!r}, got {actual!r}"
        if self.alias is not None and self.alias not in sent.aliases:
            got = " and ".join(map(repr, sent.aliases))
            yield f"alias: expected {self.alias!r}, got {got}"
        for name, expected in self.fields.items():
            actual = sent.message.get(name, _MISSING)
            if actual is _MISSING:
                yield f"{name}: expected {expected!r}, which is missing"
            elif expected != actual:
                yield f"{name}: expected {expected!r}, got {actual!r}"

    def nearest(self, messages: Iterable[S]) -> tuple[int, S]:
        """The first of those with the fewest differences, and its index."""
        return min(enumerate(messages), key=lambda each: len(list(self.differences(each[1]))))

    def __str__(self) -> str:
        if self.channel is not None:
            where = f"to channel {self.channel!r}"
        else:
            where = "anything" if self.group is None else f"to group {self.group!r}"
        if self.alias is not None:
            where += f" of {self.alias!r}"
        return f"{where}: {render(self.fields)}" if self.fields else where
