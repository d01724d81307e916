"""Lua scripts, which the server carries out without anything in between."""

from hashlib import sha1
from importlib.resources import files


class Script:
    """One file of ``scripts/``."""

    def __init__(self, name: str) -> None:
        self.text: str = (files("fast_channels_redis") / "scripts" / f"{name}.lua").read_text(
            "utf-8"
        )
        self.sha: str = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        """The name that Redis gives it."""
