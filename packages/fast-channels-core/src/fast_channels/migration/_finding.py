"""What is found, and the pages that say more."""

from dataclasses import dataclass
from typing import Final

CHANNELS: Final = "docs/migration/django-channels.md"
FROM_1X: Final = "docs/migration/from-1x.md"
BROADCASTER: Final = "docs/migration/broadcaster.md"
SOCKETIO: Final = "docs/migration/python-socketio.md"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about something, wherever it is found."""

    todo: str
    page: str
    required: bool = True
    """False for what goes on working, and could be better or deserves a look."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing in one place."""

    path: str
    line: int
    column: int
    kind: str
    what: str
    todo: str
    page: str
    required: bool
