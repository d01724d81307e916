"""The two modules of core whose code is in another distribution, and what a missing one says."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FACADES = pytest.mark.parametrize(
    ("facade", "package", "install"),
    [
        (
            "fast_channels.layers.redis",
            "fast_channels_redis",
            "pip install 'fast-channels[redis]'",
        ),
        (
            "fast_channels.testing",
            "fast_channels_testing",
            "pip install fast-channels-testing",
        ),
    ],
    ids=["redis", "testing"],
)


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the next import of a module or package, and of what is in it, a first one."""

    def forget(name: str) -> None:
        for known in [key for key in sys.modules if f"{key}.".startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, known)
        # `from parent import child` takes the attribute before it imports anything.
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.delattr(importlib.import_module(parent), child, raising=False)

    return forget


@FACADES
def test_a_missing_distribution_is_named_with_how_to_install_it(
    facade: str,
    package: str,
    install: str,
    forget: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget(facade)
    forget(package)
    monkeypatch.setitem(sys.modules, package, None)  # to the import system: not there
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(facade)
    assert facade in str(caught.value)
    assert install in str(caught.value)
    assert caught.value.name == package


@FACADES
def test_a_broken_distribution_is_not_taken_for_a_missing_one(
    facade: str,
    package: str,
    install: str,
    forget: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    forget(facade)
    forget(package)
    (tmp_path / f"{package}.py").write_text("import a_driver_that_is_not_installed\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    try:
        with pytest.raises(ModuleNotFoundError) as caught:
            importlib.import_module(facade)
    finally:
        forget(package)
    assert caught.value.name == "a_driver_that_is_not_installed"
    assert install not in str(caught.value)


def test_layers_passes_the_missing_distribution_on(
    forget: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    forget("fast_channels.layers.redis")
    forget("fast_channels_redis")
    monkeypatch.setitem(sys.modules, "fast_channels_redis", None)
    layers = importlib.import_module("fast_channels.layers")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fast-channels\[redis\]'"):
        _ = layers.RedisChannelLayer


def test_layers_has_no_other_lazy_name() -> None:
    layers = importlib.import_module("fast_channels.layers")
    with pytest.raises(AttributeError, match="RedisLayer"):
        _ = layers.RedisLayer


def test_a_star_import_of_layers_needs_no_other_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fast_channels_redis", None)
    names: dict[str, object] = {}
    exec("from fast_channels.layers import *", names)
    assert "InMemoryChannelLayer" in names
    assert "RedisChannelLayer" not in names
