"""Rooms, their members, and what counts as a good name: nothing here knows about WebSockets.

The table lives in this process, as the in-memory layer does. With several worker processes,
keep it where all of them can see it, for example in Redis.
"""

import re
from typing import TypedDict

MAX_ROOM, MAX_NAME, MAX_TEXT = 40, 32, 2000
MAX_LISTED = 20
"""Rooms that the overview names at most; the fullest come first."""

# It has to read well as a path, so no slash, and no leading dot: browsers resolve "..".
ROOM_NAME = re.compile(rf"\w[\w .'-]{{0,{MAX_ROOM - 1}}}")


class BadInput(ValueError):
    """What a client sent is not acceptable; the text goes to the page and says what would be."""


class Member(TypedDict):
    id: str
    name: str


class RoomSummary(TypedDict):
    room: str
    members: int


def room_name(value: str) -> str:
    """The room that ``value`` names."""
    name = " ".join(value.split())
    if ROOM_NAME.fullmatch(name) is None:
        raise BadInput(
            f"A room name has 1 to {MAX_ROOM} letters, digits, spaces, dots, dashes or "
            "apostrophes, and starts with a letter or a digit."
        )
    return name


def display_name(value: str) -> str:
    """The name under which a member is shown: one line, and never empty."""
    name = " ".join(value.split())
    if not 1 <= len(name) <= MAX_NAME:
        raise BadInput(f"Your name needs 1 to {MAX_NAME} characters; this one has {len(name)}.")
    return name


def message_text(value: str) -> str:
    """The text of one message; line breaks inside it are kept."""
    text = value.strip()
    if not 1 <= len(text) <= MAX_TEXT:
        raise BadInput(f"A message needs 1 to {MAX_TEXT} characters; this one has {len(text)}.")
    return text


class Rooms:
    """Who is in which room."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Member]] = {}

    def put(self, room: str, member: Member) -> None:
        """Add ``member``, or take over a changed name."""
        self._members.setdefault(room, {})[member["id"]] = member

    def remove(self, room: str, member: Member) -> None:
        """Remove ``member``; a room that nobody is in any more is forgotten."""
        members = self._members.get(room, {})
        members.pop(member["id"], None)
        if not members:
            self._members.pop(room, None)

    def members(self, room: str) -> list[Member]:
        return list(self._members.get(room, {}).values())

    def overview(self) -> list[RoomSummary]:
        """The rooms with somebody in them, the fullest first."""
        rooms = [
            RoomSummary(room=room, members=len(members)) for room, members in self._members.items()
        ]
        rooms.sort(key=lambda summary: (-summary["members"], summary["room"]))
        return rooms[:MAX_LISTED]
