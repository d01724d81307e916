"""What the tests saw of endings, as the table in docs/concepts/endings.md and as figures."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ending_stage import ENDINGS, Ending, Outcome
from serving import COMMANDS

PAGE: Final = Path(__file__).parents[1] / "docs" / "concepts" / "endings.md"
FIGURES: Final = Path(__file__).parent / "artifacts" / "endings.json"

UPDATE: Final = "FAST_CHANNELS_UPDATE_ENDINGS"
"""Set to 1 it makes the tests write the table instead of comparing it."""

_HEADS: Final[Mapping[str, str]] = {
    "uvicorn-websockets": "uvicorn `websockets`",
    "uvicorn-sansio": "uvicorn `websockets-sansio`",
    "uvicorn-wsproto": "uvicorn `wsproto`",
    "uvicorn-uvloop": "uvicorn, uvloop",
}

_BEGIN: Final = "<!-- made by integration-tests/test_endings.py -->\n\n"
_END: Final = "\n<!-- end -->"


class Seen:
    """Collects the outcomes on one layer, and on all of them how long it took."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._delays: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def add(self, row: Ending, server: str, outcome: Outcome) -> None:
        self._outcomes[row.id, server] = outcome

    def add_delay(self, row: Ending, house: str, seconds: float) -> None:
        """From the moment when the end could be known to the start of ``disconnect()``."""
        self._delays[row.id][house] = round(seconds * 1000, 3)

    @property
    def missing(self) -> list[str]:
        """What has not been seen, because only some of the tests ran."""
        return [
            f"{row.id} on {server}"
            for row in ENDINGS
            for server in COMMANDS
            if row.happens_on(server) and (row.id, server) not in self._outcomes
        ]

    def table(self) -> str:
        heads = ("", *(_HEADS.get(server, server) for server in COMMANDS))
        rows = [[row.title, *(self._cell(row, server) for server in COMMANDS)] for row in ENDINGS]
        lines = [heads, ["---"] * len(heads), *rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def _cell(self, row: Ending, server: str) -> str:
        return str(self._outcomes[row.id, server]) if row.happens_on(server) else "-"

    def write_figures(self) -> None:
        """Milliseconds, by ending and by server and layer, and the most of all."""
        most = max(delay for delays in self._delays.values() for delay in delays.values())
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(
            json.dumps({"most_ms": most, "ms_until_disconnect": self._delays}, indent=1)
        )


def table_in_the_docs(new: str) -> str:
    """The table as the page has it, which is the new one after an update."""
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    table, end, after = rest.partition(_END)
    assert (begin, end) == (_BEGIN, _END), f"{PAGE} has no place for the table"
    if os.environ.get(UPDATE) == "1":
        PAGE.write_text(f"{before}{begin}{(table := new)}{end}{after}")
    return table
