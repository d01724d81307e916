"""Which fault happens to which message: by chance from a seed, or because a test says so."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from fast_channels.types import Message

FaultKind = Literal["drop", "duplicate", "reorder", "full", "delay", "disconnect"]
"""What can happen to a message."""

InjectedKind = Literal["drop", "duplicate", "reorder", "full", "disconnect"]
"""What a test can make happen to a single message."""

Operation = Literal["delivery", "send", "group_send", "group_add"]

_DELIVERY_KINDS: Final = ("drop", "duplicate", "reorder", "full")


@dataclass(frozen=True)
class Fault:
    """One thing that a :class:`FaultyChannelLayer` did.

    Two runs with the same seed and the same calls have equal faults, whatever their channels are
    named.
    """

    kind: FaultKind
    """What was done."""
    operation: Operation
    """The call that failed, or "delivery" for what happened on the way to one channel."""
    target: str
    """``"specific#2"`` for the second channel that was opened with this prefix, or the name of
    a general channel or a group."""
    message: Message | None
    """A copy; None for ``group_add``."""
    delay: float = 0
    """Seconds, for a "delay"."""
    name: str = field(default="", compare=False)
    """The name of the channel or group."""


@dataclass
class _Injection:
    kind: FaultKind
    times: int
    to: str | None
    type: str | None


@dataclass(frozen=True)
class Verdict:
    """What happens to one delivery."""

    kind: FaultKind | None
    delay: float


class FaultPlan:
    """Decides and keeps record. Whoever calls holds the lock."""

    def __init__(
        self, seed: int, chances: Mapping[FaultKind, float], delay: tuple[float, float]
    ) -> None:
        for kind, chance in chances.items():
            _require_chance(kind, chance)
        total = sum(chances[kind] for kind in _DELIVERY_KINDS)
        if total > 1:
            raise ValueError(
                f"{', '.join(_DELIVERY_KINDS)} add up to {total:g}: at most one of them happens "
                "to a message, so expected 1 or less"
            )
        low, high = delay
        if not 0 <= low <= high:
            raise ValueError(
                f"delay is {delay!r}, expected seconds, or the least and the most of them"
            )
        self.lock: threading.Lock = threading.Lock()
        self.faults: list[Fault] = []
        self._seed = seed
        self._chances = dict(chances)
        self._delay = delay
        self._streams: dict[str, random.Random] = {}
        self._injections: list[_Injection] = []

    def inject(self, kind: InjectedKind, times: int, to: str | None, type: str | None) -> None:
        if kind not in get_args(InjectedKind):
            raise ValueError(f"expected one of {get_args(InjectedKind)}, got {kind!r}")
        if times < 1:
            raise ValueError(f"times is {times!r}, expected 1 or more")
        self._injections.append(_Injection(kind, times, to, type))

    def delivery(
        self, label: str, name: str, read: Callable[[], Message], always: FaultKind | None
    ) -> Verdict:
        """The fate of one message on its way to one channel; ``always``: what it is for now."""
        # Drawn whether they are used or not: what a test does to one message by hand does not
        # change what happens to the next ones by chance.
        stream = self._stream("delivery", label)
        chance, share = stream.random(), stream.random()
        low, high = self._delay
        delay = low + (high - low) * share
        kind = always or self._injected(_DELIVERY_KINDS, name, read) or self._by_chance(chance)
        if kind is not None:
            self.record(Fault(kind, "delivery", label, read(), name=name))
        if delay and kind not in ("drop", "full", "disconnect"):
            self.record(Fault("delay", "delivery", label, read(), delay, name))
        return Verdict(kind, delay)

    def fails(
        self,
        operation: Operation,
        label: str,
        name: str,
        read: Callable[[], Message | None],
        down: bool,
    ) -> bool:
        """Whether a call meets a broker that is away; ``down``: it is."""
        chance = self._stream(operation, label).random()
        injected = self._injected(("disconnect",), name, read)
        if not (down or injected or chance < self._chances["disconnect"]):
            return False
        self.record(Fault("disconnect", operation, label, read(), name=name))
        return True

    def record(self, fault: Fault) -> None:
        self.faults.append(fault)

    def _stream(self, operation: Operation, label: str) -> random.Random:
        key = f"{self._seed}/{operation}/{label}"
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = random.Random(key)  # noqa: S311  # faults are no secret
        return stream

    def _by_chance(self, chance: float) -> FaultKind | None:
        for kind in _DELIVERY_KINDS:
            chance -= self._chances[kind]
            if chance < 0:
                return kind
        return None

    def _injected(
        self, kinds: tuple[FaultKind, ...], name: str, read: Callable[[], Message | None]
    ) -> FaultKind | None:
        for injection in self._injections:
            if (
                injection.kind in kinds
                and injection.to in (None, name)
                and (injection.type is None or (read() or {}).get("type") == injection.type)
            ):
                injection.times -= 1
                if not injection.times:
                    self._injections.remove(injection)
                return injection.kind
        return None


def _require_chance(kind: FaultKind, chance: float) -> None:
    if isinstance(chance, bool) or not 0 <= chance <= 1:
        raise ValueError(f"{kind} is {chance!r}, expected a probability from 0 to 1")
