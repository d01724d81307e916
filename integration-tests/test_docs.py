"""The examples in docs/ run without a warning, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
LIFE_CYCLE = ROOT / "docs" / "life-cycle.md"
WRITE_A_LAYER = ROOT / "docs" / "write-a-channel-layer.md"


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


EXAMPLES = [
    pytest.param(page, block, id=f"{page.stem}-{number}")
    for page in PAGES
    if page != WRITE_A_LAYER  # whose examples are the files of one package
    for number, block in enumerate(python_blocks(page), 1)
]

# Old releases of what the examples import deprecate each other, before a line of ours runs.
STRICT = ["-W", "error", "-W", "default::DeprecationWarning", "-X", "dev"]
PYTEST = [
    *("-m", "pytest", "-q", "-p", "no:cacheprovider", "--asyncio-mode=auto", *STRICT[:4]),
    *("-o", "asyncio_default_fixture_loop_scope=function"),
]


@pytest.mark.parametrize(("page", "block"), EXAMPLES)
def test_example_runs(page: Path, block: str, tmp_path: Path) -> None:
    # Blocks that say their file in the first line are what the others of the page import.
    for other in python_blocks(page):
        if named := re.match(r"# (\w+\.py)\n", other):
            (tmp_path / named[1]).write_text(other)
    example = tmp_path / "test_example.py"
    example.write_text(block)
    has_tests = re.search(r"^async def test_", block, re.MULTILINE)
    command = [sys.executable, *STRICT, *(PYTEST if has_tests else ()), example.name]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(600)  # it is a whole suite
def test_layer_that_is_written_there_passes_the_suite(tmp_path: Path) -> None:
    for block in python_blocks(WRITE_A_LAYER):
        heading, text = block.split("\n", 1)
        file = tmp_path / heading.removeprefix("# ").removesuffix(", continued")
        file.parent.mkdir(parents=True, exist_ok=True)
        if heading.endswith(", continued"):
            text = f"{file.read_text()}\n{text}"
        file.write_text(text)
    options = [
        "-q",
        "-W",
        "error",
        "-p",
        "no:asyncio",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
    ]
    paths = (tmp_path / "src", tmp_path / "tests")
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        check=True,
        timeout=590,
    )


def test_module_of_the_page_is_the_chats() -> None:
    """Comments aside, which are about the chat."""
    shown, _ = re.findall(r"^```js\n(.*?)^```$", LIFE_CYCLE.read_text(), re.MULTILINE | re.DOTALL)
    module = (ROOT / "examples" / "chat" / "static" / "heartbeat.js").read_text()
    assert shown == re.sub(r"^//.*\n", "", module, flags=re.MULTILINE).lstrip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
