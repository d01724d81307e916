"""Which names channels and groups may have, after the channel-layer specification.

The rule is the one that Django Channels and its layers apply, so a name that is good here is
good on every layer that the two share.
"""

import hashlib
import re
from typing import Final

from fast_channels.exceptions import InvalidNameError

MAX_NAME_LENGTH: Final = 99
SPECIFIC_MARK: Final = "!"
"""Divides ``prefix.node`` from the part that only the owning node understands."""

_RULE = f"use 1 to {MAX_NAME_LENGTH} ASCII letters, digits, hyphens, underscores or periods"
_is_plain_name = re.compile(r"[A-Za-z0-9_.\-]+").fullmatch
_is_channel_name = re.compile(r"[A-Za-z0-9_.\-]+(?:![A-Za-z0-9_.\-]*)?").fullmatch
_is_group_prefix = re.compile(r"[A-Za-z0-9_\-]{1,48}").fullmatch


class OwnedName(str):
    """The name of a channel as its owner has it: unlike a plain str, its end can be noticed.

    Copies of it, however they are made, are plain.
    """

    __slots__ = ("__weakref__",)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)


def is_specific(channel: str) -> bool:
    """Whether the channel belongs to one process; any other channel is general."""
    return SPECIFIC_MARK in channel


def require_channel_name(name: str) -> None:
    if (
        (type(name) is not str and type(name) is not OwnedName)
        or len(name) > MAX_NAME_LENGTH
        or not _is_channel_name(name)
    ):
        raise _invalid("channel", name, f"{_RULE}, with at most one '{SPECIFIC_MARK}'")


def require_group_name(name: str) -> None:
    if type(name) is not str or len(name) > MAX_NAME_LENGTH or not _is_plain_name(name):
        raise _invalid("group", name, f"{_RULE}, or make a name with group_name(prefix, value)")


def checked_channel_prefix(prefix: str) -> str:
    """The prefix, without the period at its end that the names of channels bring themselves."""
    # Room for the node and channel ids that follow.
    if type(prefix) is not str or len(prefix) > 40 or not _is_plain_name(prefix.rstrip(".")):
        raise _invalid(
            "channel prefix",
            prefix,
            "use 1 to 40 ASCII letters, digits, hyphens, underscores or periods",
        )
    return prefix.rstrip(".")


def _invalid(kind: str, name: object, rule: str) -> InvalidNameError:
    shown = repr(name) if len(repr(name)) <= 120 else f"{repr(name)[:117]}..."
    got = f"{shown} of {len(name)} characters" if type(name) is str else shown
    if isinstance(name, str) and type(name) is not str:
        # Its characters may be good, but what it becomes in a text depends on its class.
        rule = f"it is a {type(name).__name__}; names are plain str, such as the value of an enum"
    return InvalidNameError(f"{got} is not a valid {kind} name: {rule}")


def group_name(prefix: str, value: str) -> str:
    """A valid group name for any string, such as a room name that a user typed.

    Different pairs of arguments give different names. A ``value`` that is short and made of
    allowed characters stays readable (``group_name("room", "lobby")`` is ``"room.lobby"``);
    any other becomes a 160-bit hash. The result is the same in every process and version.

    ``prefix``: 1 to 48 ASCII letters, digits, hyphens or underscores.
    Raises :class:`InvalidNameError` for a bad prefix or a ``value`` that is not a string.
    """
    if not isinstance(prefix, str) or not _is_group_prefix(prefix):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise _invalid(
            "group prefix", prefix, "use 1 to 48 ASCII letters, digits, hyphens or underscores"
        )
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InvalidNameError(f"group_name() takes a string as value, not {value!r}")
    # A readable name never has two periods after the prefix: those mark a hash.
    # Joined, not formatted: that would ask the class of an enum's member what to write.
    readable = ".".join((prefix, value))
    if len(readable) <= MAX_NAME_LENGTH and _is_plain_name(value) and value[0] != ".":
        return readable
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return "..".join((prefix, digest))
