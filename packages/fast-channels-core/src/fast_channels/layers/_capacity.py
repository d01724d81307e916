"""How many messages may wait in a channel: one default, and exceptions by name pattern."""

import re
from collections.abc import Callable, Mapping
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
        rules: ChannelCapacity = {} if by_channel is None else by_channel
        if not isinstance(rules, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"channel_capacity is {rules!r}, expected a dict from pattern to int")
        self._rules = [
            (_matcher(pattern), _positive(capacity, f"channel_capacity[{pattern!r}]"))
            for pattern, capacity in rules.items()
        ]

    def __call__(self, channel: str) -> int:
        for matches, capacity in self._rules:
            if matches(channel):
                return capacity
        return self._default


def _matcher(pattern: str | re.Pattern[str]) -> Callable[[str], object]:
    if isinstance(pattern, str):
        return re.compile(translate(pattern)).match
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        return pattern.match
    raise TypeError(
        f"channel_capacity has the pattern {pattern!r}, expected a glob such as 'worker.*' or a "
        "regular expression that was compiled from a str"
    )


def _positive(capacity: int, option: str) -> int:
    if type(capacity) is not int or capacity < 1:
        raise ValueError(f"{option} is {capacity!r}, expected a whole number of messages from 1 up")
    return capacity
