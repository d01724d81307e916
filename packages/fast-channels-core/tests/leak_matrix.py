"""The endings of connections, thousands of each, and what is left of them: the leak matrix."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Final, TypeAlias

from leak_cases import AT_ONCE, CASES
from leak_census import census, log_lines
from leak_visits import Case, Cut, Visit, watched_tasks

DEADLINE: Final = 20
"""Seconds for :data:`AT_ONCE` connections. Only those that hang ever take that long."""


@dataclass
class Row:
    """What one case came to."""

    title: str
    endings: int = 0
    cancelled: int = 0
    problems: Counter[str] = field(default_factory=Counter[str])
    """What was wrong with single endings, or was logged without a cause in the application."""
    left: Counter[str] = field(default_factory=Counter[str])
    """What is there now and was not before, by class or by table."""

    @property
    def is_clean(self) -> bool:
        return not self.problems and not self.left


Way: TypeAlias = tuple[Case, Callable[[Case, int], Awaitable[Row]]]


class Matrix:
    """Lets connections come and end on the layer that is registered as "default"."""

    def __init__(
        self,
        *roots: object,
        cases: Sequence[Case] = CASES,
        at_once: int = AT_ONCE,
        patience: float = DEADLINE,
        eager: bool = False,
        memories: Collection[str] = (),
    ) -> None:
        """``roots``: the layer, and what else has tables. ``patience``: seconds within which a
        thread or a broker has to forget, too. ``eager``: see :func:`watched_tasks`.
        ``memories``: tables that keep the latest of something for ever."""
        self._cases = cases
        self._roots = (*roots, *cases)
        self._at_once = at_once
        self._patience = patience
        self._eager = eager
        self._memories = frozenset(memories)
        self._before: Counter[str] = Counter()

    @property
    def ways(self) -> list[Way]:
        """Each case by itself, and cancelled at each of its awaits."""
        both = (self._undisturbed, self._cancelled)
        return [(case, way) for case in self._cases for way in both]

    async def warm_up(self) -> None:
        """Fill what the first connection of a kind fills for ever, and is not to be counted."""
        for case, way in self.ways:
            await way(case, 1)
        self._before = census(*self._roots)

    async def run(self, way: Way, endings: int) -> Row:
        """One of the ways, ``endings`` times or some more, and what is left since the beginning."""
        case, end = way
        row = await end(case, endings)
        deadline = time.monotonic() + self._patience
        while (left := self._left()) and time.monotonic() < deadline:  # noqa: ASYNC110  # nobody tells of that
            await asyncio.sleep(0.01)
        row.left = left
        return row

    async def _undisturbed(self, case: Case, endings: int) -> Row:
        row = Row(case.title)
        while row.endings < endings:
            await self._visit(row, case, [None] * self._at_once)
        return row

    async def _cancelled(self, case: Case, endings: int) -> Row:
        """At its first await, its second, and so on until there are no more; then again."""
        row = Row(f"{case.title}, cancelled")
        while row.endings < endings:
            places = (Cut(at, late) for at in count(1) for late in (False, True))
            while True:
                cuts = list(islice(places, self._at_once))
                visits = await self._visit(row, case, cuts)
                if not all(visit.cancelled for visit in visits):
                    break
        return row

    async def _visit(self, row: Row, case: Case, cuts: Sequence[Cut | None]) -> list[Visit]:
        """One connection for each, all at once."""
        visits = [Visit(case, cut) for cut in cuts]
        with log_lines() as lines, watched_tasks(eager=self._eager):
            running = {asyncio.create_task(visit.run()): visit for visit in visits}
            _, hanging = await asyncio.wait(running, timeout=DEADLINE)
            for task in hanging:
                running[task].problems.append(f"hangs after {running[task].awaits} awaits")
                task.cancel()
        row.endings += len(visits)
        row.cancelled += sum(visit.cancelled for visit in visits)
        for visit, cut in zip(visits, cuts, strict=True):
            row.problems.update(f"{problem} ({cut})" for problem in visit.problems)
        row.problems.update(line for line in lines if not any(each in line for each in case.logs))
        return visits

    def _left(self) -> Counter[str]:
        now = census(*self._roots)
        for name in self._memories:
            del now[name]
        # Those before left none of these either.
        return +(now - self._before | Counter({name: now[name] for name in MUST_BE_EMPTY}))


MUST_BE_EMPTY: Final = (
    *("Visit", "Connection", "LocalTable.channels", "LocalTable.groups"),
    *("Subscriptions._confirmed", "Broker.groups"),
)
