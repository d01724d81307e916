"""What ``python -m fast_channels.migration`` says of the installed distributions."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fast_channels.migration._installed import find_installed

Install = Callable[..., None]

CORE = ["fast_channels/__init__.py", "fast_channels/layers/base.py", "fast_channels/py.typed"]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Put files and metadata where an installer does."""

    def install(name: str, version: str, files: Sequence[str], origin: object = None) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()

    return install


def found(tmp_path: Path) -> list[str]:
    findings = find_installed([str(tmp_path)])
    assert all(
        each.required and "pip uninstall -y fast-channels " in each.todo for each in findings
    )
    return [each.what for each in findings]


def test_a_clean_installation(tmp_path: Path, install: Install) -> None:
    install("fast-channels-core", "2.0.0", CORE)
    install("fast-channels", "2.0.0", [])
    install("other", "1.0", ["other/layers.py"])
    (tmp_path / "fast_channels" / "__pycache__").mkdir()
    assert found(tmp_path) == []


def test_the_old_one_beside_core(tmp_path: Path, install: Install) -> None:
    install("fast-channels-core", "2.0.0", CORE)
    install("fast-channels", "1.1.0", [*CORE, "fast_channels/layers/redis/__init__.py"])
    assert found(tmp_path) == [
        (
            "fast-channels 1.1.0 is installed beside fast-channels-core 2.0.0: "
            "both have files of the same names"
        )
    ]


def test_files_that_went_with_the_old_one(tmp_path: Path, install: Install) -> None:
    install("fast_channels_core", "2.0.0", CORE)
    install("fast-channels", "2.0.0", [])
    (tmp_path / CORE[1]).unlink()
    assert found(tmp_path) == ["files of fast-channels-core 2.0.0 are missing: layers/base.py"]


def test_files_that_stayed_behind(tmp_path: Path, install: Install) -> None:
    install("fast-channels-core", "2.0.0", CORE)
    for number in range(7):
        (tmp_path / "fast_channels" / f"old{number}.py").touch()
    assert found(tmp_path) == [
        (
            "files that belong to no installed distribution: "
            "old0.py, old1.py, old2.py, old3.py, old4.py and 2 more"
        )
    ]


@pytest.mark.parametrize("origin", [{"dir_info": {"editable": True}, "url": "file:///src"}])
def test_an_editable_installation_has_its_files_elsewhere(
    tmp_path: Path, install: Install, origin: object
) -> None:
    install("fast-channels-core", "2.0.0", [], origin)
    (tmp_path / "fast_channels").mkdir()
    (tmp_path / "fast_channels" / "new.py").touch()
    assert found(tmp_path) == []


def test_nothing_to_say_without_core(tmp_path: Path, install: Install) -> None:
    assert found(tmp_path) == []
    install("fast-channels", "1.1.0", CORE)
    assert found(tmp_path) == []


def test_this_environment_is_in_order() -> None:
    assert find_installed() == []
