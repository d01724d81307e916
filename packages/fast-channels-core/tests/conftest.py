import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, settings

from fast_channels.layers import InMemoryChannelLayer
from fast_channels.statistics import statistics

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


class _Clock:
    """Stands in for the module ``time`` where a layer looks at the time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for the messages of layers; event loops do not notice."""
    clock = _Clock()
    monkeypatch.setattr("fast_channels.layers._mailbox.time", clock)
    monkeypatch.setattr("fast_channels.layers._codec.time", clock)
    return clock.advance


@pytest.fixture
def settle() -> Callable[[], Awaitable[None]]:
    """Lets every task go on until it waits for something."""

    async def let_others_run() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    return let_others_run


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """What the process has counted as dropped since the test began; every reason logs again."""
    monkeypatch.setattr(statistics, "_counts", {})
    monkeypatch.setattr(statistics, "_logged", {})
    return statistics.snapshot
