"""The matrix as Markdown and as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fast_channels_testing._report._matrix import Report, Row, State, distribution_of

FORMAT = 1
"""Goes up when what is in the JSON changes its meaning; what is added does not change it."""


def as_markdown(reports: Sequence[Report], versions: Mapping[str, str]) -> str:
    """A table with one column for each suite, and the tests that fail."""
    names = [f"`{report.suite.rpartition(':')[2]}`" for report in reports]
    lines = [_line(["", *names]), "|---" * (len(reports) + 1) + "|"]
    lines.append(_line(["layer", *(_layers(report) for report in reports)]))
    columns = [report.tiers() for report in reports]
    for tier in dict.fromkeys(tier for column in columns for tier in column):
        cells = (_cell(column[tier]) if tier in column else "" for column in columns)
        lines.append(_line([f"**{tier}**", *cells]))
    columns = [report.rows() for report in reports]
    lines += [_line([name, *(_cell(rows[name]) for rows in columns)]) for name in columns[0]]
    for title, kind in (("Failed", "failed"), ("Expected to fail", "expected_failures")):
        for report in reports:
            if results := getattr(report, kind):
                lines += ["", f"{title} in `{report.suite}`:", ""]
                lines += [f"- `{result.test}`: {_escaped(result.reason)}" for result in results]
    lines += ["", ", ".join(f"{name} {version}" for name, version in versions.items())]
    return "\n".join(lines) + "\n"


def as_json(reports: Sequence[Report], versions: Mapping[str, str]) -> str:
    """The same for programs; the README says what is in it."""
    document = {
        "format": FORMAT,
        "versions": dict(versions),
        "suites": [
            {
                "suite": report.suite,
                "layers": [_layer(layer) for layer in _sorted(report.layers)],
                "passed": report.passed,
                "tiers": {tier: _row(row) for tier, row in report.tiers().items()},
                "capabilities": {name: _row(row) for name, row in report.rows().items()},
                "failed": {result.test: result.reason for result in report.failed},
                "expected_failures": {
                    result.test: result.reason for result in report.expected_failures
                },
            }
            for report in reports
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "state": row.state.value,
        "reason": row.reason,
        "tests": row.tests,
        "failed": list(row.failed),
    }


def _cell(row: Row) -> str:
    match row.state:
        case State.FAILED:
            return f"**FAILED** ({len(row.failed)} of {row.tests})"
        case State.FAILS:
            return f"{row.state.value} ({len(row.failed)} of {row.tests})"
        case State.NOT_SUPPORTED | State.NOT_TESTED:
            return f"{row.state.value}: {row.reason}" if row.reason else row.state.value
        case _ if row.expected_failures:
            return f"{row.state.value}, but for {len(row.expected_failures)} of {row.tests}"
        case _:
            return f"{row.state.value} ({row.tests})"


def _layers(report: Report) -> str:
    return "<br>".join(
        " ".join(filter(None, (f"`{layer.__qualname__}`", *(distribution_of(layer) or ()))))
        for layer in _sorted(report.layers)
    )


def _layer(layer: type) -> dict[str, str | None]:
    distribution, version = distribution_of(layer) or (None, None)
    name = f"{layer.__module__}.{layer.__qualname__}"
    return {"class": name, "distribution": distribution, "version": version}


def _sorted(layers: set[type]) -> list[type]:
    return sorted(layers, key=lambda layer: (layer.__module__, layer.__qualname__))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
