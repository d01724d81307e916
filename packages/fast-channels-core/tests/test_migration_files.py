"""``python -m fast_channels.migration``: which files it looks at, and what it prints."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fast_channels import migration
from fast_channels.migration._command import check, main


def test_classes_of_other_files(tmp_path: Path) -> None:
    package = tmp_path / "site" / "chat"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from channels.generic.websocket import WebsocketConsumer\n"
        "class Base(WebsocketConsumer):\n    channel_layer_alias = 'default'\n"
    )
    (package / "rooms.py").write_text(
        "from chat import Base\nclass Room(Base):\n"
        "    def connect(self):\n        self.channel_layer\n        self.accept()\n"
    )
    (package / "corners.py").write_text(
        "from .rooms import Room\nclass Corner(Room, Corner):\n    limits = 1\n"
    )
    found = {(Path(each.path).name, each.kind) for each in check([tmp_path]).findings}
    assert found == {
        ("__init__.py", "django-channels"),
        ("rooms.py", "not-awaited"),
        ("corners.py", "taken-name"),
    }


def test_a_class_that_may_be_one_of_two_is_none_of_them(tmp_path: Path) -> None:
    for site in ("a", "b"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "chat.py").write_text(
            "from channels.consumer import SyncConsumer\nclass Base(SyncConsumer): pass\n"
        )
    (tmp_path / "rooms.py").write_text("from chat import Base\nclass Room(Base):\n    limits = 1\n")
    assert {Path(each.path).name for each in check([tmp_path]).findings} == {"chat.py"}


@pytest.mark.parametrize(
    "source",
    [
        b"print 'old'",
        b"\xff\xfe\x00a",
        b"# coding: no-such-codec\n",
        b"a = '\x00'",
        b"\x80abc",
        b"(" * 5_000,
        b"a" + b".b" * 50_000,
        b"-" * 100_000 + b"1",
    ],
    ids=range(8),
)
def test_files_that_are_no_python_are_named(tmp_path: Path, source: bytes) -> None:
    (tmp_path / "a.py").write_bytes(source)
    (tmp_path / "b.py").write_text("import channels_redis")
    report = check([tmp_path])
    assert list(report.unreadable) == [str(tmp_path / "a.py")]
    assert [each.what for each in report.findings] == ["channels_redis"]


def test_any_encoding_is_read_and_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfimport channels_redis\nraise SystemExit\n")
    (tmp_path / "b.py").write_bytes(
        b"# coding: latin-1\nimport channels_redis\ngr\xfc\xdfe = '\\d'\n"
    )
    report = check([tmp_path])
    assert [each.line for each in report.findings] == [1, 2]
    assert report.unreadable == {}


def test_what_is_installed_in_a_folder_is_not_looked_at(tmp_path: Path) -> None:
    for folder in (".git", "env/lib", "node_modules", "__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("import channels_redis")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert check([tmp_path]).files == 0
    # But what is named is.
    assert check([tmp_path / "env" / "lib", tmp_path / "env" / "lib" / "a.py"]).files == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.py")
    assert check([tmp_path]).files == 0


def run(*arguments: str | Path, encoding: str = "utf-8") -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "fast_channels.migration", *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in process.stderr
    return process.returncode, process.stdout.decode(encoding)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import channels_redis")
    (tmp_path / "b.py").write_text("import os")
    code, output = run(tmp_path, encoding="ascii")
    assert code == 1
    assert output.splitlines()[0] == f"{tmp_path / 'a.py'}:1:1: channels_redis"
    assert output.splitlines()[-1] == "2 files: 1 to change, 0 that may stay, 0 not looked at"
    assert run(tmp_path / "b.py")[0] == 0
    assert run(tmp_path / "c.py")[0] == 2
    code, output = run(tmp_path, "--format", "json")
    assert code == 1
    report = json.loads(output)
    assert (report["format"], report["files"], report["unreadable"]) == (1, 2, {})
    assert report["findings"] == [
        {
            "path": str(tmp_path / "a.py"),
            "line": 1,
            "column": 1,
            "kind": "django-channels",
            "what": "channels_redis",
            "todo": "the layers are in fast_channels.layers.redis",
            "page": "docs/migration/django-channels.md#layers-and-settings",
            "required": True,
        }
    ]


def test_it_runs_where_the_rest_of_the_package_is_gone(tmp_path: Path) -> None:
    here = tmp_path / "fast_channels" / "migration"
    shutil.copytree(migration.__path__[0], here, ignore=shutil.ignore_patterns("__pycache__"))
    process = subprocess.run(
        # Without site, and so without what is installed.
        [sys.executable, "-S", "-m", "fast_channels.migration", str(here)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        text=True,
        check=False,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (0, "")


def test_what_a_terminal_has_no_letters_for_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from broadcaster import Broadcast\nBroadcast('kafka://host')")
    code, output = run(tmp_path, encoding="ascii")
    assert code == 1
    assert "Broadcast(kafka://\\u2026)" in output


def test_what_may_stay_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text(
        "from asgiref.sync import async_to_sync\nasync_to_sync(layer.group_send)('room', {})\n"
    )
    assert main([str(tmp_path)]) == 0
    assert "(may stay)" in capsys.readouterr().out
