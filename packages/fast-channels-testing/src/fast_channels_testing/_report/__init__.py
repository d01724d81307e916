"""The command that runs conformance suites by pytest and prints the support matrix.

Nothing here may import the suite before pytest does: what a failed assertion compared would then
not be shown.
"""

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Sequence

from fast_channels_testing._report._matrix import Report, versions
from fast_channels_testing._report._targets import Target, UsageError
from fast_channels_testing._report._text import as_json, as_markdown

_DESCRIPTION = """\
Runs conformance suites and prints what their channel layers support.

A suite is named as my_package.tests:TestMyLayer or tests/test_my_layer.py:TestMyLayer. It runs in
pytest, with the conftest.py files and the configuration that it always has; what pytest says goes
to the standard error. Options for pytest follow after --.

Ends with 1 if something fails that every layer promises or that is declared, with 2 if a suite
cannot be run."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fast_channels_testing",
        description="Tools for authors of channel layers.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser(
        "report",
        help="print the support matrix of channel layers",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("suites", nargs="+", metavar="module:Class")
    report.add_argument("--format", choices=("md", "json"), default="md")
    own, for_pytest = _split(arguments)
    given = parser.parse_args(own)
    try:
        targets = [Target.parse(suite) for suite in given.suites]
        reports = _run(targets, for_pytest)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    render = as_json if given.format == "json" else as_markdown
    sys.stdout.write(render(reports, versions()))
    return 0 if all(report.passed for report in reports) else 1


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    given = list(arguments)
    if "--" not in given:
        return given, []
    end = given.index("--")
    return given[:end], given[end + 1 :]


def _run(targets: Sequence[Target], for_pytest: Sequence[str]) -> list[Report]:
    for name in ("pytest", "hypothesis"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"{name} is not installed; install fast-channels-testing[suite]")
    import pytest

    from fast_channels_testing._report._collector import Collector

    collector = Collector(targets)
    ignored = (
        "ignore::fast_channels_testing.layers.UndeclaredCapability",
        # This package, whose assertions need no rewriting; the suite's are.
        "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning",
    )
    options = [part for line in ignored for part in ("-W", line)]
    # Whatever the project's configuration says: all of the tests run, and in this process.
    options.append("--maxfail=0")
    in_process = ["-n", "0"] if importlib.util.find_spec("xdist") else []
    nodes = [target.node for target in targets]
    # The report alone goes to the standard output, to be piped.
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main([*nodes, *options, *for_pytest, *in_process], plugins=[collector])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        collector.explain(status)
    return collector.reports()
