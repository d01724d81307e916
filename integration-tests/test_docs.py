"""The examples in docs/ run without a warning, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LIFE_CYCLE = ROOT / "docs" / "life-cycle.md"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(python_blocks(page), 1)
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_example_runs(block: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(block)
    # Old releases of what the examples import deprecate each other, before a line of ours runs.
    options = ["-W", "error", "-W", "default::DeprecationWarning", "-X", "dev"]
    command = [sys.executable, *options, "example.py"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


def test_module_of_the_page_is_the_chats() -> None:
    """Comments aside, which are about the chat."""
    shown, _ = re.findall(r"^```js\n(.*?)^```$", LIFE_CYCLE.read_text(), re.MULTILINE | re.DOTALL)
    module = (ROOT / "examples" / "chat" / "static" / "heartbeat.js").read_text()
    assert shown == re.sub(r"^//.*\n", "", module, flags=re.MULTILINE).lstrip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
