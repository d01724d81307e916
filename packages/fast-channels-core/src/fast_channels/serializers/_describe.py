"""Words for what is wrong in a message, and where. Values are never quoted: they may be secret."""

from collections.abc import Mapping, Sequence

__all__ = ["hint", "kind", "location"]

# By the name of a class or of one it derives from, so nothing has to be imported for it.
_HINTS = {
    "BaseModel": "send .model_dump(mode='json')",
    "Decimal": "send str() of it",
    "Enum": "send its .value, or derive the enum from str or int",
    "Struct": "send msgspec.to_builtins() of it",
    "UUID": "send str() of it",
    "bytearray": "send bytes() of it",
    "coroutine": "await it first",
    "date": "send .isoformat()",
    "deque": "send a list",
    "dict_items": "send a list",
    "dict_keys": "send a list",
    "dict_values": "send a list",
    "frozenset": "send a list",
    "generator": "send a list",
    "generic": "send .item()",
    "memoryview": "send bytes() of it",
    "ndarray": "send .tolist()",
    "range": "send a list",
    "set": "send a list",
    "time": "send .isoformat()",
    "timedelta": "send .total_seconds()",
}


def hint(value: object) -> str:
    """What to send in place of a value that no message can hold."""
    for cls in type(value).__mro__:
        if cls.__name__ in _HINTS:
            return _HINTS[cls.__name__]
    if isinstance(value, Mapping):
        return "send dict() of it"
    if hasattr(type(value), "__dataclass_fields__"):
        return "send dataclasses.asdict() of it"
    return "a message holds str, bytes, int, float, bool, None, and lists and dicts of them"


def kind(value: object) -> str:
    """The value's type with an article: ``a set``, ``an int``, ``a datetime.datetime``."""
    cls = type(value)
    if value is None:
        return "None"
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def location(path: Sequence[str | int]) -> str:
    """``message["user"]["tags"][3]``; the middle of a long path is left out."""
    steps = [_step(step) for step in path]
    if len(steps) > 8:
        steps[5:-3] = [" … "]
    return "message" + "".join(steps)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if len(step) > 40:
        step = step[:39] + "…"
    # Quotes and anything invisible, lone surrogates included, as repr() escapes them.
    plain = step.isprintable() and '"' not in step and "\\" not in step
    return f'["{step}"]' if plain else f"[{step!r}]"
