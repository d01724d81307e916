"""The examples in docs/ run without a warning, and its links lead somewhere."""

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from doc_blocks import PROGRAM, TESTS, Runner
from markdown_blocks import blocks
from redis_servers import RedisServer

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/*/README.md"))]
LIFE_CYCLE = DOCS / "concepts" / "life-cycle.md"
WRITE_A_LAYER = DOCS / "how-to" / "write-a-channel-layer.md"


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


def python_blocks(page: Path) -> list[str]:
    return blocks(page, "python")


EXAMPLES = [
    pytest.param(page, block, id=f"{name_of(page)}-{number}")
    for page in PAGES
    if page != WRITE_A_LAYER  # whose examples are the files of one package
    and page.parent != DOCS / "tutorial"  # whose are those of one application: test_tutorial.py
    for number, block in enumerate(python_blocks(page), 1)
]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner() as runner:
        yield runner


@pytest.mark.parametrize(("page", "block"), EXAMPLES)
def test_example_runs(
    page: Path, block: str, tmp_path: Path, runner: Runner, request: pytest.FixtureRequest
) -> None:
    # Blocks that say their file in the first line are what the others of the page import.
    for other in python_blocks(page):
        if named := re.match(r"# (\w+\.py)\n", other):
            (tmp_path / named[1]).write_text(other)
    name = TESTS if re.search(r"^(async )?def test_", block, re.MULTILINE) else PROGRAM
    (tmp_path / name).write_text(block)
    environment: dict[str, str] = {}
    if 'os.environ["REDIS_URL"]' in block:  # who would not run without one
        server: RedisServer = request.getfixturevalue("one_redis_server")
        environment["REDIS_URL"] = server.url
    status, output = runner.run(tmp_path, name, environment)
    # What cannot be raised any more, such as a ResourceWarning, is only printed.
    assert (status, "Exception ignored" in output) == (0, False), output


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
    shown, _ = blocks(LIFE_CYCLE, "js")
    module = (ROOT / "examples" / "tutorial" / "static" / "heartbeat.js").read_text()
    assert shown == re.sub(r"^//.*\n", "", module, flags=re.MULTILINE).lstrip()


def parse_ini(text: str) -> None:
    # A unit of systemd may have a key more than once, and % in its values.
    configparser.ConfigParser(strict=False, interpolation=None).read_string(text)


PARSERS: dict[str, Callable[[str], object]] = {
    "ini": parse_ini,
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
}


@pytest.mark.parametrize(
    ("language", "block"),
    [
        pytest.param(language, block, id=f"{name_of(page)}-{language}-{number}")
        for page in PAGES
        for language in PARSERS
        for number, block in enumerate(blocks(page, language), 1)
    ],
)
def test_configuration_can_be_read(language: str, block: str) -> None:
    PARSERS[language](block)


def prose(page: Path) -> str:
    """What the page says outside of its blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Those that GitHub makes of the headings, and the site as well."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        same = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each) is not None for each in found)
        found.add(f"{slug}-{same}" if same else slug)
    return found


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    wrong: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []
