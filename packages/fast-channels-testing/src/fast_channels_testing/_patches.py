"""Attributes that are different for a while."""

from typing import Any

_ABSENT = object()


class Patches:
    """Sets attributes of objects and classes, and puts back what was there."""

    def __init__(self) -> None:
        self._undo: list[tuple[object, str, object]] = []

    def set(self, target: object, name: str, value: Any) -> None:
        # What is inherited is not put back: it shows through again.
        self._undo.append((target, name, vars(target).get(name, _ABSENT)))
        setattr(target, name, value)

    def undo(self) -> None:
        while self._undo:
            target, name, before = self._undo.pop()
            if before is _ABSENT:
                # Somebody else may have undone it already.
                if name in vars(target):
                    delattr(target, name)
            else:
                setattr(target, name, before)
