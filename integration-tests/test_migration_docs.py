"""The check for those who migrate, and the pages that it leads to."""

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_blocks import blocks
from test_docs import DOCS, PAGES, ROOT, anchors, python_blocks

from fast_channels import migration
from fast_channels.layers.redis import RedisChannelLayer, RedisPubSubChannelLayer
from fast_channels.migration._command import check
from fast_channels.migration._layers import OPTIONS, QUEUE_OPTIONS
from fast_channels.migration._names_channels import NAMES, SAME, SECTIONS
from fast_channels_redis._layer import RedisLayer, RedisOptions

SOURCE = "".join(each.read_text("utf-8") for each in Path(migration.__path__[0]).glob("*.py"))
PEERS = [page for page in PAGES if page.parent == DOCS / "migration" and page.stem != "index"]


def test_it_finds_nothing_in_our_own_applications() -> None:
    report = check([ROOT / "examples"])
    assert report.files
    assert (report.findings, report.unreadable) == ([], {})


def test_it_finds_in_the_pages_only_what_was_before(tmp_path: Path) -> None:
    before: set[Path] = set()
    for number, block in enumerate(each for page in PAGES for each in python_blocks(page)):
        file = tmp_path / f"block{number}.py"
        file.write_text(block, encoding="utf-8")
        if block.startswith("# Before"):
            before.add(file)
    assert before
    found = check([tmp_path]).findings
    assert {Path(each.path) for each in found if each.required} == before


@pytest.mark.parametrize("page", PEERS, ids=lambda page: page.stem)
def test_what_the_pages_say_was_before_has_to_change(page: Path, tmp_path: Path) -> None:
    """Also where the peer is not installed here, so that the block is no Python one."""
    block = blocks(page, "(?:text|python)")[0]
    imports = {
        "broadcaster": "from broadcaster import Broadcast\n",
        "python-socketio": "import socketio\n",
    }
    (tmp_path / "before.py").write_text(imports.get(page.stem, "") + block, encoding="utf-8")
    report = check([tmp_path])
    assert report.unreadable == {}
    assert [each for each in report.findings if each.required]


def test_pages_and_sections_that_it_names_are_there() -> None:
    pages = dict(re.findall(r'(\w+): Final = "(docs/migration/\S+\.md)"', SOURCE))
    links = re.findall(r'f"\{([A-Z]\w+)\}#([\w-]+)"', SOURCE)
    named = {(pages[page], section) for page, section in links}
    named |= {(pages["CHANNELS"], section) for section in SECTIONS.values()}
    assert {page for page, _ in named} == {*pages.values()}
    assert [(page, s) for page, s in sorted(named) if s not in anchors(ROOT / page)] == []


def test_every_class_of_django_channels_is_known() -> None:
    channels = find_spec("channels")
    assert channels is not None
    folder = (channels.submodule_search_locations or [""])[0]
    modules = ("consumer", "exceptions", "layers", "routing", "sessions", "auth", "middleware")
    inner = ("generic.http", "generic.websocket", "security.websocket", "testing.websocket")
    paths = {
        module: Path(folder, *module.split(".")).with_suffix(".py")
        for module in (*modules, *inner, "testing.application", "testing.http")
    }
    classes = {
        f"channels.{module}.{node.name}"
        for module, path in paths.items()
        if path.exists()  # 4.1 has not yet all of them
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    assert "channels.consumer.AsyncConsumer" in classes
    private = {"channels.routing.RoutePattern", "channels.sessions.InstanceSessionWrapper"}
    assert classes - private <= NAMES.keys()


def test_what_is_said_to_be_elsewhere_is_there() -> None:
    for name, module in SAME.items():
        assert hasattr(importlib.import_module(module), name.rpartition(".")[2])


def test_it_knows_the_options_of_the_layers() -> None:
    assert {*RedisOptions.__annotations__, "hosts"} == OPTIONS
    queue, pubsub = (
        layer.__init__.__annotations__.keys() - {"return", "options"}
        for layer in (RedisChannelLayer, RedisPubSubChannelLayer)
    )
    assert queue - {"hosts"} == QUEUE_OPTIONS
    assert pubsub == RedisLayer.__init__.__annotations__.keys() - {"return"} == OPTIONS
