"""The fenced blocks of a page."""

import re
from pathlib import Path


def blocks(page: Path, language: str) -> list[str]:
    """What is in the blocks of a language; ``language`` is a pattern without groups."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
