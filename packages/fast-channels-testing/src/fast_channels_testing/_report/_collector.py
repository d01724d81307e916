"""The pytest plugin that notes what becomes of the tests of the suites."""

from collections.abc import Sequence
from typing import Never

import pytest

from fast_channels_testing._report._matrix import Outcome, Report, Result
from fast_channels_testing._report._targets import Target, UsageError


class Collector:
    """Runs the suite's own tests of some classes, and no others."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._reports = dict[str, Report]()
        self._results = dict[str, Result]()
        self._foreign = set[str]()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        # Only now: pytest has imported the suite, and can explain its assertions.
        from fast_channels_testing.layers._base import SuiteBase, mark_of

        kept, others = list[pytest.Item](), list[pytest.Item]()
        for item in items:
            suite = item.cls if isinstance(item, pytest.Function) else None
            name = item.originalname if isinstance(item, pytest.Function) else item.name
            if suite is None or not issubclass(suite, SuiteBase):
                self._foreign.add(f"{item.path}::{getattr(suite, '__name__', name)}")
                others.append(item)
            elif (mark := mark_of(suite, name)) is None:
                others.append(item)
            else:
                kept.append(item)
                tier, needs = mark
                node = f"{item.path}::{suite.__name__}"
                report = self._reports.setdefault(node, Report(suite.capabilities))
                result = Result(item.name, tier, needs)
                report.results.append(result)
                self._results[item.nodeid] = result
        items[:] = kept
        if others:
            config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        result = self._results.get(report.nodeid)
        if result is None:
            return
        if report.failed:
            result.end(Outcome.FAILED, _crash(report))
        elif hasattr(report, "wasxfail"):
            expected = Outcome.EXPECTED if report.skipped else Outcome.PASSED
            result.end(expected, report.wasxfail.removeprefix("reason: "))
        elif report.skipped:
            result.end(Outcome.SKIPPED, _why_skipped(report))
        elif report.when == "call":
            result.end(Outcome.PASSED)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        from fast_channels_testing.layers import Layers

        layers = getattr(item, "funcargs", {}).get("layers")
        if isinstance(layers, Layers) and isinstance(item, pytest.Function):
            report = self._reports[f"{item.path}::{getattr(item.cls, '__name__', '')}"]
            report.layers.update(map(type, layers.made))

    def reports(self) -> list[Report]:
        """One for each suite, as named by the user; raises :class:`UsageError`."""
        for target in self._targets:
            if target.node not in self._reports:
                self._explain(target)
            self._reports[target.node].suite = target.given
        return [self._reports[target.node] for target in self._targets]

    def explain(self, status: int) -> Never:
        """Raise :class:`UsageError` for a run that pytest did not finish."""
        for target in self._targets:
            if target.node not in self._reports:
                self._explain(target)
        raise UsageError(f"pytest ended with status {int(status)}; what it said is above")

    def _explain(self, target: Target) -> Never:
        if target.node in self._foreign:
            raise UsageError(
                f"{target.given}: {target.name} is not derived from "
                "fast_channels_testing.layers.ChannelLayerSuite"
            )
        raise UsageError(
            f"{target.given}: pytest found no tests in {target.node}; what it said is above. Is "
            "the class there, does the file import, and is its name one that pytest collects?"
        )


def _crash(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longrepr)
    where = "" if report.when == "call" else f"in {report.when}: "
    return where + next(iter(text.splitlines()), "")


def _why_skipped(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
