"""How many messages may wait in a channel: one default, and exceptions by name pattern."""

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import TypeAlias

ChannelCapacity: TypeAlias = Mapping[str | re.Pattern[str], int]
"""Capacity by channel name: a glob (``"worker.*"``) or a compiled regular expression that
matches from the start. The first pattern that matches decides."""


class CapacityRules:
    """Looks up the capacity of a channel; built once per layer, asked once per channel."""

    __slots__ = ("_default", "_rules")

    def __init__(self, default: int, by_channel: ChannelCapacity | None) -> None:
        self._default = _positive(default, "capacity")
        self._rules = [
            (
                re.compile(translate(pattern)) if isinstance(pattern, str) else pattern,
                _positive(capacity, f"channel_capacity[{pattern!r}]"),
            )
            for pattern, capacity in (by_channel or {}).items()
        ]

    def __call__(self, channel: str) -> int:
        for pattern, capacity in self._rules:
            if pattern.match(channel):
                return capacity
        return self._default


def _positive(capacity: int, option: str) -> int:
    if type(capacity) is not int or capacity < 1:
        raise ValueError(f"{option} is {capacity!r}, expected a whole number of messages from 1 up")
    return capacity
