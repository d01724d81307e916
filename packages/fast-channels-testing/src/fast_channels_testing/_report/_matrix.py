"""What the outcomes of tests say about a layer.

The suite is imported late, as the package's docstring says.
"""

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from fast_channels_testing.layers import Capabilities

_OURS = ("fast-channels-core", "fast-channels-testing")


class Outcome(Enum):
    """How a test ended."""

    NOT_RUN = "not run"
    PASSED = "passed"
    SKIPPED = "skipped"
    EXPECTED = "failed as expected"
    FAILED = "failed"


class State(Enum):
    """What is known of a capability or a tier."""

    PASSED = "passed"
    """A tier: its tests pass, but for those that are expected to fail."""
    SUPPORTED = "supported"
    """A capability that is declared: its tests pass, but for those that are expected to fail."""
    NOT_SUPPORTED = "not supported"
    PASSES = "undeclared, passes"
    FAILS = "undeclared, fails"
    NOT_TESTED = "not tested"
    """No test of it has run."""
    FAILED = "failed"


@dataclass
class Result:
    """What became of one test."""

    test: str
    tier: str
    needs: tuple[str, ...]
    outcome: Outcome = Outcome.NOT_RUN
    reason: str = ""

    def end(self, outcome: Outcome, reason: str = "") -> None:
        """Note an outcome; a failure afterwards, while cleaning up, counts as well."""
        if self.outcome is not Outcome.FAILED:
            self.outcome, self.reason = outcome, reason


@dataclass(frozen=True)
class Row:
    """One cell of the matrix."""

    state: State
    reason: str = ""
    tests: int = 0
    """How many have run."""
    failed: tuple[str, ...] = ()
    expected_failures: tuple[str, ...] = ()


@dataclass
class Report:
    """One suite: a column of the matrix."""

    capabilities: "Capabilities"
    suite: str = ""
    results: list[Result] = field(default_factory=list[Result])
    layers: set[type] = field(default_factory=set[type])
    """The classes of the layers that were made."""

    @property
    def passed(self) -> bool:
        return not self.failed

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.outcome is Outcome.FAILED]

    @property
    def expected_failures(self) -> list[Result]:
        """Tests whose author says why they fail."""
        return [
            result
            for result in self.results
            if result.outcome is Outcome.EXPECTED and self._are_supported(result.needs)
        ]

    def tiers(self) -> dict[str, Row]:
        """Of each tier, the tests of what every layer promises or is declared."""
        from fast_channels_testing.layers._base import Tier

        rows = dict[str, Row]()
        there = {result.tier for result in self.results}
        for tier in (tier for tier in get_args(Tier) if tier in there):
            tests = [
                result
                for result in self.results
                if result.tier == tier and self._are_supported(result.needs)
            ]
            rows[tier] = _judge(tests, State.PASSED)
        return rows

    def rows(self) -> dict[str, Row]:
        """Each capability, by name."""
        return {
            field.name: self._capability(field.name, getattr(self.capabilities, field.name))
            for field in fields(self.capabilities)
        }

    def _capability(self, name: str, support: Any) -> Row:
        from fast_channels_testing.layers import NotSupported, Supported

        if isinstance(support, NotSupported):
            return Row(State.NOT_SUPPORTED, support.reason)
        tests = [result for result in self.results if name in result.needs]
        if isinstance(support, Supported):
            return _judge(
                [result for result in tests if self._are_supported(result.needs)],
                State.SUPPORTED,
            )
        ran = [
            result for result in tests if result.outcome not in (Outcome.NOT_RUN, Outcome.SKIPPED)
        ]
        failed = tuple(result.test for result in ran if result.outcome is not Outcome.PASSED)
        if not ran:
            return Row(State.NOT_TESTED, _reasons(tests))
        return Row(State.FAILS if failed else State.PASSES, "", len(ran), failed)

    def _are_supported(self, names: Iterable[str]) -> bool:
        from fast_channels_testing.layers import Supported

        return all(isinstance(getattr(self.capabilities, name), Supported) for name in names)


def _judge(tests: list[Result], good: State) -> Row:
    by_outcome = {
        outcome: tuple(result.test for result in tests if result.outcome is outcome)
        for outcome in Outcome
    }
    failed, expected = by_outcome[Outcome.FAILED], by_outcome[Outcome.EXPECTED]
    ran = len(by_outcome[Outcome.PASSED]) + len(failed) + len(expected)
    if not ran:
        return Row(State.NOT_TESTED, _reasons(tests))
    return Row(State.FAILED if failed else good, "", ran, failed, expected)


def _reasons(tests: list[Result]) -> str:
    return "; ".join(dict.fromkeys(result.reason for result in tests if result.reason))


def versions() -> dict[str, str]:
    """Of Python and of the packages that the suite consists of."""
    ours = {name: version for name in _OURS if (version := _version(name)) is not None}
    return {"Python": platform.python_version(), **ours}


def distribution_of(layer: type) -> tuple[str, str] | None:
    """The name and the version of what has installed the class, if anything has."""
    package = layer.__module__.partition(".")[0]
    named = importlib.metadata.packages_distributions().get(package, [])
    # An editable installation need not say which modules it has.
    likely = "fast-channels-core" if package == "fast_channels" else package
    for name in (*named, likely):
        if (version := _version(name)) is not None:
            return importlib.metadata.metadata(name)["Name"], version
    return None


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
