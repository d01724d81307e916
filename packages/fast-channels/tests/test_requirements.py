"""What `pip install fast-channels` brings, read from the installed metadata."""

from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement

META = distribution("fast-channels")
REQUIREMENTS = [Requirement(text) for text in META.requires or []]


def brought_by(extra: str) -> dict[str, set[str]]:
    """Names of distributions, with their extras."""
    return {
        requirement.name: requirement.extras
        for requirement in REQUIREMENTS
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    }


def test_it_has_no_code() -> None:
    files = [str(path) for path in META.files or []]
    assert files
    assert [path for path in files if path.endswith(".py")] == []


PLAIN: dict[str, set[str]] = {"fast-channels-core": set(), "fast-channels-testing": set()}
REDIS: dict[str, set[str]] = {**PLAIN, "fast-channels-redis": {"hiredis"}}
ALL: dict[str, set[str]] = {**REDIS, "fast-channels-core": {"encryption"}}


@pytest.mark.parametrize(("extra", "expected"), [("", PLAIN), ("redis", REDIS), ("all", ALL)])
def test_what_it_brings(extra: str, expected: dict[str, set[str]]) -> None:
    assert brought_by(extra) == expected


@pytest.mark.parametrize("name", ["fast-channels-core", "fast-channels-testing"])
def test_its_siblings_here_are_of_an_accepted_version(name: str) -> None:
    version = distribution(name).version
    for requirement in REQUIREMENTS:
        if requirement.name == name:
            assert version in requirement.specifier
