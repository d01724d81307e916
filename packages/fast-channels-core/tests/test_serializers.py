import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import importlib
import inspect
import math
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fast_channels.exceptions import InvalidMessageError, MessageDecodeError
from fast_channels.serializers import JsonSerializer, MessageSerializer, MsgpackSerializer

# The library of that name has no types.
msgpack: Any = importlib.import_module("msgpack")

MSGPACK = MsgpackSerializer()
JSON = JsonSerializer()
BOTH = pytest.mark.parametrize("serializer", [MSGPACK, JSON], ids=["msgpack", "json"])

_text = st.text(st.characters(codec="utf-8"), max_size=10)
_int = st.integers(-(2**63), 2**64 - 1)
_scalar = st.none() | st.booleans() | _int | _text
_nan_free = st.floats(allow_nan=False)


def _messages(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
        max_leaves=20,
    )
    return st.builds(_message, _text.filter(bool), st.dictionaries(_text, values, max_size=5))


def _message(kind: str, rest: dict[str, Any]) -> dict[str, Any]:
    return {**rest, "type": kind}


@given(_messages(_scalar | st.binary(max_size=10) | _nan_free))
def test_msgpack_round_trip(message: dict[str, Any]) -> None:
    data = MSGPACK.encode(message)
    assert MSGPACK.decode(data) == message
    assert msgpack.unpackb(data) == message
    assert MSGPACK.decode(msgpack.packb(message)) == message


@given(_messages(_scalar | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_round_trip(message: dict[str, Any]) -> None:
    assert JSON.decode(JSON.encode(message)) == message


@BOTH
def test_each_decode_makes_a_message_of_its_own(serializer: MessageSerializer) -> None:
    data = serializer.encode({"type": "a", "list": [1]})
    serializer.decode(data)["list"].append(2)
    assert serializer.decode(data) == {"type": "a", "list": [1]}


def test_msgpack_carries_floats_that_are_not_finite() -> None:
    message = MSGPACK.decode(MSGPACK.encode({"type": "a", "inf": -math.inf, "nan": math.nan}))
    assert message["inf"] == -math.inf
    assert math.isnan(message["nan"])


class Kind(enum.StrEnum):
    CHAT = "chat.message"


class Old(str, enum.Enum):  # noqa: UP042 - as people wrote it before StrEnum
    CHAT = "chat.message"


class Level(enum.IntEnum):
    HIGH = 3


class Loud(str):
    """A str that shows itself as something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.upper()


class Odd(int):
    """An int that shows itself as something else."""

    def __int__(self) -> int:
        return -1

    def __index__(self) -> int:
        return -1


class Size(float):
    pass


class Point(NamedTuple):
    x: int
    y: int


class Sealed(dict[str, Any]):
    pass


PLAIN: list[tuple[object, object]] = [
    (Kind.CHAT, "chat.message"),
    (Old.CHAT, "chat.message"),
    (Level.HIGH, 3),
    (Loud("quiet"), "quiet"),
    (Odd(7), 7),
    (Size(1.5), 1.5),
    (Point(1, 2), [1, 2]),
    ((1, (2, 3)), [1, [2, 3]]),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (Sealed(a=Sealed(b=Kind.CHAT)), {"a": {"b": "chat.message"}}),
    ({Kind.CHAT: 1}, {"chat.message": 1}),
    ([True, Level.HIGH, None], [True, 3, None]),
]


@BOTH
@pytest.mark.parametrize(("given", "arrives"), PLAIN)
def test_subclasses_arrive_as_plain_values(
    serializer: MessageSerializer, given: object, arrives: object
) -> None:
    message = serializer.decode(serializer.encode({"type": "a", "value": given, "n": 1}))
    assert message == {"type": "a", "value": arrives, "n": 1}
    assert type(message["value"]) is type(arrives)


def test_bytes_subclasses_arrive_as_bytes() -> None:
    class Blob(bytes):
        pass

    assert MSGPACK.decode(MSGPACK.encode({"type": "a", "b": Blob(b"x")})) == {
        "type": "a",
        "b": b"x",
    }


@BOTH
def test_the_message_itself_may_be_of_a_subclass(serializer: MessageSerializer) -> None:
    message = Sealed(type=Kind.CHAT, text="hi")
    assert serializer.decode(serializer.encode(message)) == {"type": "chat.message", "text": "hi"}
    assert type(message["type"]) is Kind


@dataclasses.dataclass
class Person:
    name: str


class Record(msgspec.Struct):
    name: str


class Colour(enum.Enum):
    RED = "red"


REFUSED: list[tuple[object, str]] = [
    ({1, 2}, "is a set; send a list"),
    (frozenset({1}), "is a frozenset; send a list"),
    (range(3), "is a range; send a list"),
    (iter([1]), "is a list_iterator; a message holds str"),
    ({"a": 1}.values(), "is a dict_values; send a list"),
    (collections.deque([1]), "is a collections.deque; send a list"),
    (dt.datetime.now(dt.UTC), "is a datetime.datetime; send .isoformat()"),
    (dt.date(2026, 1, 1), "is a datetime.date; send .isoformat()"),
    (dt.time(12), "is a datetime.time; send .isoformat()"),
    (dt.timedelta(1), "is a datetime.timedelta; send .total_seconds()"),
    (uuid.uuid4(), "is a uuid.UUID; send str() of it"),
    (decimal.Decimal(1), "is a decimal.Decimal; send str() of it"),
    (bytearray(b"x"), "is a bytearray; send bytes() of it"),
    (memoryview(b"x"), "is a memoryview; send bytes() of it"),
    (1j, "is a complex; a message holds str"),
    (object(), "is an object; a message holds str"),
    (len, "is a builtin_function_or_method; a message holds str"),
    (Person, "is a type; a message holds str"),
    (Colour.RED, "Colour; send its .value"),
    (Person("ann"), "Person; send dataclasses.asdict() of it"),
    (Record("ann"), "Record; send msgspec.to_builtins() of it"),
    (types.MappingProxyType({"a": 1}), "is a mappingproxy; send dict() of it"),
    (msgspec.UNSET, "UnsetType; "),
    (msgspec.Raw(b"\xc0"), "Raw; "),
    (msgspec.msgpack.Ext(1, b"x"), "Ext; "),
    (2**64, "is an int outside of -2**63 to 2**64 - 1; send it as a str"),
    (-(2**63) - 1, "is an int outside of -2**63 to 2**64 - 1"),
    (10**30, "is an int outside of -2**63 to 2**64 - 1"),
    ("a\ud800", "is a str with a lone surrogate at index 1"),
    ({1: 2}, "has a key that is an int; keys are str"),
    ({None: 2}, "has a key that is None; keys are str"),
    ({b"a": 2}, "has a key that is a bytes; keys are str"),
    ({(): 2}, "has a key that is a tuple; keys are str"),
    ({"ok": 1, "\udfff": 2}, "has a key with a lone surrogate at index 0"),
]


@BOTH
@pytest.mark.parametrize(("value", "text"), REFUSED)
def test_refused_values_are_located(
    serializer: MessageSerializer, value: object, text: str
) -> None:
    where = 'message["user"]["tags"][3] '
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode({"type": "a", "n": 1, "user": {"tags": [1, "x", {}, value]}})
    assert str(caught.value).startswith(where)
    assert text in str(caught.value)
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode({"type": "a", "value": value})
    assert str(caught.value).startswith('message["value"] ')


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, Size("nan")])
def test_json_refuses_floats_that_are_not_finite(value: float) -> None:
    with pytest.raises(InvalidMessageError, match=r'^message\["f"\] is a float that is not finite'):
        JSON.encode({"type": "a", "f": value})


def test_json_refuses_bytes() -> None:
    with pytest.raises(InvalidMessageError, match=r'^message\["b"\] is bytes, which JSON has not'):
        JSON.encode({"type": "a", "b": b""})


@BOTH
@pytest.mark.parametrize(
    ("message", "text"),
    [
        (None, "a message is a dict, this is None"),
        ([], "a message is a dict, this is a list"),
        ("type", "a message is a dict, this is a str"),
        (5, "a message is a dict, this is an int"),
        (types.MappingProxyType({"type": "a"}), "a message is a dict, this is a mappingproxy"),
        ({}, 'the message has no "type"'),
        ({"text": "hi"}, 'the message has no "type"'),
        ({"type": ""}, 'message["type"] is empty'),
        ({"type": Loud("")}, 'message["type"] is empty'),
        ({"type": None}, 'message["type"] is None; it must be a str'),
        ({"type": 5}, 'message["type"] is an int; it must be a str'),
        ({"type": ["a"]}, 'message["type"] is a list; it must be a str'),
        ({"type": {"a": 1}}, 'message["type"] is a dict; it must be a str'),
        ({"type": {1}}, 'message["type"] is a set'),
        ({"type": "a", 5: 1}, "message has a key that is an int; keys are str"),
        ({"type": "a", "\ud800": 1}, "message has a key with a lone surrogate"),
    ],
)
def test_what_is_not_a_message(serializer: MessageSerializer, message: Any, text: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode(message)
    assert text in str(caught.value)


def test_json_says_that_a_bytes_type_is_not_a_str() -> None:
    with pytest.raises(InvalidMessageError, match=r'message\["type"\] is a bytes'):
        MSGPACK.encode({"type": b"a"})


@BOTH
@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("naïve key", '["naïve key"]'),
        ('say "hi"', "['say \"hi\"']"),
        ("back\\slash", r"['back\\slash']"),
        ("new\nline", r"['new\nline']"),
        ("k" * 41, f'["{"k" * 39}…"]'),
    ],
)
def test_keys_are_shown_readably(serializer: MessageSerializer, key: str, shown: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode({"type": "a", key: set()})
    assert str(caught.value).startswith(f"message{shown} is a set")


@BOTH
def test_values_are_not_quoted(serializer: MessageSerializer) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode({"type": "a", "secrets": ["hunter2\ud800", {"hunter2"}]})
    assert "hunter2" not in str(caught.value)


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@BOTH
def test_dicts_count_as_nesting_too(serializer: MessageSerializer) -> None:
    message: dict[str, Any] = {"type": "a"}
    for _ in range(199):
        message = {"type": "a", "in": message}
    assert serializer.decode(serializer.encode(message)) == message
    with pytest.raises(InvalidMessageError, match="is nested deeper than 200 levels"):
        serializer.encode({"type": "a", "in": message})


@BOTH
def test_nesting_has_a_limit(serializer: MessageSerializer) -> None:
    message = {"type": "a", "deep": _nested(199)}
    assert serializer.decode(serializer.encode(message)) == message
    for depth in (200, 100_000):
        with pytest.raises(InvalidMessageError, match="is nested deeper than 200 levels") as caught:
            serializer.encode({"type": "a", "deep": _nested(depth)})
        assert str(caught.value).startswith('message["deep"][0][0][0][0] … [0][0][0] is')


def test_the_msgpack_library_reads_the_deepest_message() -> None:
    message = {"type": "a", "deep": _nested(199)}
    assert msgpack.unpackb(MSGPACK.encode(message)) == message


def _cycle_in_dict() -> dict[str, Any]:
    message: dict[str, Any] = {"type": "a"}
    message["me"] = message
    return message


def _cycle_in_list() -> dict[str, Any]:
    loop: list[Any] = [1]
    loop.append(loop)
    return {"type": "a", "me": loop}


def _cycles_side_by_side() -> dict[str, Any]:
    # Followed breadth first, this one doubles with every level.
    loop: list[Any] = []
    loop += [loop, loop]
    return {"type": "a", "me": loop}


@BOTH
@pytest.mark.parametrize(
    ("make", "where"),
    [
        (_cycle_in_dict, 'message["me"]'),
        (_cycle_in_list, 'message["me"][1]'),
        (_cycles_side_by_side, 'message["me"][0]'),
    ],
)
def test_cycles(
    serializer: MessageSerializer, make: Callable[[], dict[str, Any]], where: str
) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        serializer.encode(make())
    assert str(caught.value) == f"{where} contains itself"


@BOTH
def test_the_same_value_twice_is_no_cycle(serializer: MessageSerializer) -> None:
    shared = [Kind.CHAT]
    message = serializer.decode(serializer.encode({"type": "a", "x": shared, "y": [shared]}))
    assert message == {"type": "a", "x": ["chat.message"], "y": [["chat.message"]]}


@BOTH
def test_a_caller_that_is_deep_in_recursion(serializer: MessageSerializer) -> None:
    def climb(frames: int) -> bytes:
        return climb(frames - 1) if frames else serializer.encode({"type": "a", "d": _nested(150)})

    frame, depth = inspect.currentframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    assert climb(100)
    with pytest.raises(InvalidMessageError, match="too deeply for the stack that is left"):
        climb(sys.getrecursionlimit() - depth - 100)


_faults = st.sampled_from([{1}, uuid.UUID(int=1), object(), 2**64, "\ud800", {3: 4}, 1j])
_paths = st.lists(st.integers(0, 3) | _text, min_size=1, max_size=5)


@given(path=_paths, fault=_faults, rest=_messages(_scalar))
def test_every_fault_is_found_where_it_is(
    path: list[int | str], fault: object, rest: dict[str, Any]
) -> None:
    value = fault
    for step in reversed(path):
        value = [None] * step + [value] if isinstance(step, int) else {step: value}
    for serializer in (MSGPACK, JSON):
        with pytest.raises(InvalidMessageError) as caught:
            serializer.encode({**rest, "here": value})
        where = str(caught.value).removeprefix("message")
        for step in ["here", *path]:
            shown = [f"[{step}]"] if isinstance(step, int) else [f'["{step}"]', f"[{step!r}]"]
            assert where.startswith(tuple(shown))
            where = where.removeprefix(next(text for text in shown if where.startswith(text)))
        assert where.startswith((" is ", " has a key "))


NOT_MSGPACK = [
    b"",
    b"\xc0",
    b"\xc1",
    b"\x93\x01\x02\x03",
    b"\xa4type",
    b"\x81",
    b"\x80",
    b"\x81\xa4type\x01",
    b"\x81\xa4type\xc0",
    b"\x81\xc4\x04type\xa1a",  # the key is bytes
    b"\x81\xa4type\xc4\x01a",  # the value is bytes
    b"\x81\xa4type\xa1\xff",
    b"\x81\xa4type\xa1aX",
    b"\x82\xa4type\xa1a\x01\x02",
    b"\x82\xa4type\xa1a\xa1b\x81\x80\x00",  # a map as a key
    b"\x82\xa4type\xa1a\xa1b\xd4\x05\x01",  # an extension type
    b"\x82\xa4type\xa1a\xa1b" + b"\x91" * 100_000,
    b"\xdf\xff\xff\xff\xff",
    b"\x82\xa4type\xa1a\xa1b\xdd\xff\xff\xff\xff",
    b"\x82\xa4type\xa1a\xa1b\xc7\x0c\xff" + b"\xff" * 12,  # a time that no datetime holds
    b'{"type":"a"}',
]
NOT_JSON = [
    b"",
    b"null",
    b"[]",
    b'"type"',
    b"{}",
    b'{"type":1}',
    b'{"type":null}',
    b'{"type":"a"',
    b'{"type":"a"}x',
    b'{"type":"\xff"}',
    b'{"type":"\\ud800"}',
    b'{"type":"a","n":NaN}',
    b'{"type":"a","n":1e999}',
    b'{"type":"a","n":' + b"9" * 5000 + b"}",
    b'{"type":"a","d":' + b"[" * 100_000,
    b"\x81\xa4type\xa1a",
]


@pytest.mark.parametrize("data", NOT_MSGPACK, ids=lambda data: repr(data[:24]))
def test_what_is_not_msgpack(data: bytes) -> None:
    with pytest.raises(MessageDecodeError, match="MessagePack"):
        MSGPACK.decode(data)


@pytest.mark.parametrize("data", NOT_JSON, ids=lambda data: repr(data[:24]))
def test_what_is_not_json(data: bytes) -> None:
    with pytest.raises(MessageDecodeError, match="JSON"):
        JSON.decode(data)


@BOTH
@given(data=st.binary() | st.binary().map(lambda tail: b"\x82\xa4type\xa1a\xa1b" + tail))
def test_decoding_anything_gives_a_message_or_one_error(
    serializer: MessageSerializer, data: bytes
) -> None:
    try:
        message = serializer.decode(data)
    except MessageDecodeError:
        return
    assert type(message) is dict
    assert type(message["type"]) is str


@BOTH
def test_decode_errors_do_not_quote_the_data(serializer: MessageSerializer) -> None:
    for data in (b'{"kind":"hunter2"}', b"\x81\xa4kind\xa7hunter2", b'{"type":"a"}hunter2'):
        with pytest.raises(MessageDecodeError) as caught:
            serializer.decode(data)
        assert "hunter2" not in str(caught.value)


@BOTH
def test_threads_share_a_serializer(serializer: MessageSerializer) -> None:
    def work(number: int) -> bool:
        message = {"type": "a", "number": number, "text": str(number) * 50}
        return all(serializer.decode(serializer.encode(message)) == message for _ in range(300))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


async def test_a_coroutine_is_recognised() -> None:
    forgotten = asyncio.sleep(0)
    with pytest.raises(InvalidMessageError, match=r'message\["user"\] is a coroutine; await it'):
        MSGPACK.encode({"type": "a", "user": forgotten})
    await forgotten


def test_typed_dicts_are_accepted_by_the_signature() -> None:
    # Mapping, because a TypedDict is not a dict[str, Any] to a type checker.
    message: Mapping[str, object] = {"type": "a"}
    assert MSGPACK.encode(message) == b"\x81\xa4type\xa1a"
