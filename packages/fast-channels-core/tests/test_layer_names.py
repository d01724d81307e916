"""Which names channels and groups may have, and how any string becomes one of a group."""

import string
import subprocess
import sys
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fast_channels.exceptions import FastChannelsError, InvalidNameError
from fast_channels.layers import BaseChannelLayer, group_name

ALLOWED = string.ascii_letters + string.digits + "-_."
PREFIX_CHARACTERS = ALLOWED.removesuffix(".")
RULE = "use 1 to 99 ASCII letters, digits, hyphens, underscores or periods"

plain_names = st.text(ALLOWED, min_size=1, max_size=99)
prefixes = st.text(PREFIX_CHARACTERS, min_size=1, max_size=48)
# Lone surrogates too: an application may get them from a file name or an environment variable.
any_text = st.text() | st.text(ALLOWED) | st.text(st.characters(categories=["Cs", "Ll"]))

require_channel = BaseChannelLayer.require_valid_channel_name
require_group = BaseChannelLayer.require_valid_group_name


class Room(StrEnum):
    LOBBY = "lobby"


class Mixed(str, Enum):  # noqa: UP042  # the older way, which formats differently
    LOBBY = "lobby"


@given(plain_names)
def test_every_name_of_the_allowed_characters_is_valid(name: str) -> None:
    require_channel(name)
    require_group(name)


@given(
    st.integers(1, 98).flatmap(
        lambda n: st.tuples(
            st.text(ALLOWED, min_size=n, max_size=n), st.text(ALLOWED, max_size=98 - n)
        )
    )
)
def test_a_channel_may_have_one_exclamation_mark(parts: tuple[str, str]) -> None:
    name = "!".join(parts)
    require_channel(name)
    with pytest.raises(InvalidNameError):
        require_group(name)


@given(st.text(ALLOWED, max_size=40), st.characters(exclude_characters=ALLOWED), st.text(ALLOWED))
@example("a", "\n", "")
@example("", "!", "a")
@example("a", "!", "!")
@example("a", "é", "b")
@example("a", "\u0663", "b")  # a digit, but not an ASCII one
@example("a", "\u0130", "b")
def test_any_other_character_makes_a_name_invalid(start: str, wrong: str, end: str) -> None:
    with pytest.raises(InvalidNameError):
        require_group(start + wrong + end)
    if wrong != "!" or not start or "!" in end:
        with pytest.raises(InvalidNameError):
            require_channel(start + wrong + end)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", "'' of 0 characters"),
        ("two words", "'two words' of 9 characters"),
        ("grün", "'grün' of 4 characters"),
        ("line\n", r"'line\n' of 5 characters"),
        ("a" * 100, f"'{'a' * 100}' of 100 characters"),
        ("a" * 5000, f"'{'a' * 116}... of 5000 characters"),
        (5, "5"),
        (None, "None"),
        (b"room", "b'room'"),
        (["room"], "['room']"),
    ],
)
def test_a_bad_name_gets_one_precise_sentence(name: Any, shown: str) -> None:
    with pytest.raises(InvalidNameError) as caught:
        require_channel(name)
    assert str(caught.value) == (
        f"{shown} is not a valid channel name: {RULE}, with at most one '!'"
    )
    with pytest.raises(InvalidNameError) as caught:
        require_group(name)
    assert str(caught.value) == (
        f"{shown} is not a valid group name: {RULE}, or make a name with group_name(prefix, value)"
    )


@pytest.mark.parametrize("name", list(Room) + list(Mixed))
def test_a_name_of_a_class_derived_from_str_is_refused_for_that_reason(name: str) -> None:
    for require in (require_channel, require_group):
        with pytest.raises(InvalidNameError) as caught:
            require(name)
        assert f"is a {type(name).__name__}; names are plain str" in str(caught.value)


def test_a_bad_name_is_what_callers_may_expect_it_to_be() -> None:
    for error in (FastChannelsError, TypeError, ValueError):
        with pytest.raises(error):
            require_group("two words")


@given(prefixes, any_text)
@example("a" * 48, "\ud800")
def test_any_text_makes_a_valid_group_name(prefix: str, value: str) -> None:
    name = group_name(prefix, value)
    assert type(name) is str
    require_group(name)
    assert name.startswith(f"{prefix}.")
    assert group_name(prefix, value) == name


@given(st.tuples(prefixes, any_text), st.tuples(prefixes, any_text))
@example(("a", "b.c"), ("a-b", "c"))
@example(("a", ""), ("a", "."))
@example(("a", "\ud83d\ude00"), ("a", "\U0001f600"))
@example(("a", "é"), ("a", "e\u0301"))
def test_different_arguments_make_different_names(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (group_name(*one) == group_name(*other)) == (one == other)


@given(prefixes, any_text)
def test_a_value_cannot_pass_for_the_hash_of_another(prefix: str, value: str) -> None:
    hashed = group_name(prefix, f"{value}\0").removeprefix(f"{prefix}.")
    assert group_name(prefix, hashed) != group_name(prefix, f"{value}\0")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("lobby", "room.lobby"),
        ("A-1_b.c", "room.A-1_b.c"),
        ("a.", "room.a."),
        ("x" * 94, f"room.{'x' * 94}"),
        # Every process and every release must agree on these.
        ("x" * 95, "room..045dfbc461bd270a2e83976e0522fb4d75010b1a"),
        ("", "room..3345524abf6bbe1809449224b5972c41790b6cf2"),
        (".hidden", "room..a11d727de0838274f288faaee872b43b6e69e2d8"),
        ("two words", "room..46b120aae2de04fa145598b34328806f0ad37745"),
        ("Grüße 🎉", "room..2d30bce19786a7aff5aab9b7f5eeda6ee0e1658d"),
        ("\ud800", "room..d0eac5d054995440081edbd3fcb4e055262f6abc"),
    ],
)
def test_names_stay_readable_where_they_can(value: str, name: str) -> None:
    assert group_name("room", value) == name


def test_names_are_the_same_in_another_process() -> None:
    values = ["lobby", "two words", "", "\ud800", "x" * 500]
    script = (
        f"from fast_channels.layers import group_name as g; print([g('r', v) for v in {values!r}])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == repr([group_name("r", value) for value in values])


@pytest.mark.parametrize("lobby", [*Room, *Mixed])
def test_a_derived_class_does_not_change_the_name(lobby: str) -> None:
    assert group_name("room", lobby) == "room.lobby"
    assert group_name(lobby, "x") == "lobby.x"


@pytest.mark.parametrize("prefix", ["", "two words", "a.b", "a!", "ü", "p" * 49, 5, None])
def test_a_bad_prefix_is_refused(prefix: Any) -> None:
    with pytest.raises(InvalidNameError) as caught:
        group_name(prefix, "lobby")
    assert "is not a valid group prefix name: use 1 to 48 ASCII letters, digits" in str(
        caught.value
    )


@pytest.mark.parametrize("value", [5, None, b"lobby"])
def test_a_value_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(InvalidNameError) as caught:
        group_name("room", value)
    assert str(caught.value) == f"group_name() takes a string as value, not {value!r}"
