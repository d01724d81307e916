"""The parts of the limits that know nothing of connections."""

import json
import time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels._json_depth import is_deeper_than
from fast_channels._token_bucket import TokenBucket
from fast_channels.limits import Limits, by_address, by_user

# Token bucket.


def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    bucket = TokenBucket(rate=4, burst=3)
    assert [bucket.take(100) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.24)
    assert bucket.take(100.25)
    assert not bucket.take(100.25)
    assert [bucket.take(100.75) for _ in range(3)] == [True, True, False]


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=4, burst=2)
    bucket.take(0)
    assert [bucket.take(1000) for _ in range(3)] == [True, True, False]


def test_what_was_refused_costs_nothing() -> None:
    bucket = TokenBucket(rate=4, burst=1)
    assert bucket.take(0)
    for _ in range(100):
        assert not bucket.take(0)
    assert bucket.take(0.25)


def test_reserved_tokens_come_one_after_the_other() -> None:
    bucket = TokenBucket(rate=4, burst=2)
    assert [bucket.reserve(8) for _ in range(5)] == [0, 0, 0.25, 0.5, 0.75]
    assert bucket.reserve(8.75) == 0.25
    assert bucket.reserve(100) == 0


@given(
    st.sampled_from([0.5, 1, 8]),
    st.integers(1, 5),
    st.lists(st.integers(0, 40), max_size=40),
)
def test_no_span_of_time_gets_more_than_rate_and_burst(
    rate: float, burst: int, pauses: list[int]
) -> None:
    bucket, now, taken = TokenBucket(rate, burst), 0.0, list[float]()
    for pause in pauses:
        now += pause / 16
        if bucket.take(now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + rate * (taken[last] - taken[first])


# JSON depth.


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    container = cast("dict[str, Any] | list[Any]", value)
    inner = container.values() if isinstance(container, dict) else container
    return 1 + max(map(depth, inner), default=0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text(alphabet='[]{}"\\'),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(alphabet='[]{}"\\ab'), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(JSON, st.integers(1, 6), st.booleans())
def test_depth_of_json(value: Any, limit: int, escape: bool) -> None:
    text = json.dumps(value, ensure_ascii=escape)
    assert is_deeper_than(limit, text) == (depth(value) > limit)


@given(st.text(alphabet='[]{}"\\,:1 '), st.integers(1, 6))
def test_text_that_is_no_json_raises_nothing(text: str, limit: int) -> None:
    is_deeper_than(limit, text)


@pytest.mark.parametrize(
    ("text", "deeper"),
    [
        ("[" * 3, True),
        ("[" * 3 + "\\", True),
        ('[[["', True),
        ('[["[[[', False),
        (r'["\"[[["]', False),
        (r'["\\",[[1]]]', True),
        ('{"[":{"{":["]"]}}', True),
        ("[],[],[],[]", False),
        ('["\n[[["]', False),
    ],
)
def test_depth_over_two(text: str, deeper: bool) -> None:
    assert is_deeper_than(2, text) is deeper


@pytest.mark.parametrize("part", ["[", '["', '"\\', '\\"[', "[]", '{"a":', '[""'])
def test_depth_takes_one_pass_over_the_worst_texts(part: str) -> None:
    # Quadratic, this would take many minutes.
    text = part * (2_000_000 // len(part))
    started = time.process_time()
    is_deeper_than(10, text)
    assert time.process_time() - started < 10


# Options.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"frame_bytes": 0}, ValueError, "frame_bytes is 0, expected 1 or more"),
        ({"frame_bytes": True}, TypeError, "frame_bytes must be an int"),
        ({"json_depth": 2.5}, TypeError, "json_depth must be an int"),
        ({"groups": -1}, ValueError, "groups is -1"),
        ({"frames_per_second": 0}, ValueError, "frames_per_second is 0"),
        ({"frames_per_second": float("nan")}, ValueError, "frames_per_second is nan"),
        ({"frames_per_second": float("inf")}, ValueError, "frames_per_second is inf"),
        ({"frames_per_second": "9"}, TypeError, "frames_per_second must be a number"),
        ({"frames_per_second": True}, TypeError, "frames_per_second must be a number"),
        ({"frames_per_second": 1, "burst": 0}, ValueError, "burst is 0"),
        ({"burst": 5}, ValueError, "together with frames_per_second"),
        ({"on_excess": "ignore"}, ValueError, "on_excess is 'ignore', expected one of"),
        ({"on_oversize": "delay"}, ValueError, "on_oversize is 'delay', expected one of"),
    ],
)
def test_limits_that_make_no_sense(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Limits(**options)


@pytest.mark.parametrize(
    ("rate", "burst", "at_once"), [(20, None, 20), (0.1, None, 1), (2.5, None, 3), (20, 5, 5)]
)
def test_without_a_burst_a_seconds_worth_may_come_at_once(
    rate: float, burst: int | None, at_once: int
) -> None:
    assert Limits(frames_per_second=rate, burst=burst).frames_at_once == at_once


# Who is a client.


class User:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("user", "key"),
    [
        (None, ("address", "::1")),
        (User(pk=7, username="ada"), ("user", 7)),
        (User(pk=7, is_authenticated=True), ("user", 7)),
        (User(pk=7, is_authenticated=False), ("address", "::1")),
        (User(id="x"), ("user", "x")),
        (User(username="ada"), ("user", "ada")),
        (User(), ("address", "::1")),
    ],
)
def test_clients_by_user(user: User | None, key: tuple[str, object]) -> None:
    assert by_user({"type": "websocket", "client": ["::1", 5], "user": user}) == key


@pytest.mark.parametrize("scope", [{}, {"client": None}])
def test_a_client_without_an_address_is_nobody(scope: dict[str, Any]) -> None:
    assert by_address(scope) is None
    assert by_user(scope) is None
