"""What was dropped is counted by reason, and logged no more than once a second."""

import logging
import sys
import threading
from collections.abc import Callable

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels.statistics import DropCounter, statistics


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fast_channels.statistics.time", clock)
    return clock


def test_reasons_are_counted_each_for_itself() -> None:
    counter = DropCounter()
    assert counter.snapshot() == {}
    for reason in ("a", "b", "a", "a"):
        counter.count(reason, "something")
    assert counter.snapshot() == {"a": 3, "b": 1}


def test_a_snapshot_is_a_copy() -> None:
    counter = DropCounter()
    counter.count("a", "something")
    snapshot = counter.snapshot()
    counter.count("a", "something")
    snapshot["b"] = 5
    assert counter.snapshot() == {"a": 2}


def test_a_reason_is_logged_once_a_second_with_how_many(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counter = DropCounter()
    for clock.now in (0.0, 0.0, 0.5, 0.99, 1.0, 1.5, 5.0):
        counter.count("channel.gone", f"dropped at {clock.now}")
    assert caplog.messages == [
        "dropped at 0.0 (channel.gone: 1 since the last such line)",
        "dropped at 1.0 (channel.gone: 4 since the last such line)",
        "dropped at 5.0 (channel.gone: 2 since the last such line)",
    ]
    assert {(record.name, record.levelno) for record in caplog.records} == {
        ("fast_channels", logging.WARNING)
    }


def test_one_reason_does_not_silence_another(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    counter = DropCounter()
    for reason in ("a", "b", "a", "b"):
        counter.count(reason, "something")
    assert len(caplog.records) == 2


def test_the_level_can_be_chosen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    DropCounter().count("a", "100 % harmless: %s", level=logging.DEBUG)
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("100 % harmless: %s (a: 1 ")


def test_threads_do_not_miss_a_count(caplog: pytest.LogCaptureFixture) -> None:
    counter = DropCounter()
    start = threading.Barrier(4)
    interval = sys.getswitchinterval()

    def count() -> None:
        start.wait(60)
        for _ in range(5000):
            counter.count("a", "something")

    threads = [threading.Thread(target=count) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert counter.snapshot() == {"a": 20_000}


def test_a_log_handler_may_count_too(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = DropCounter()

    def emit(record: logging.LogRecord) -> None:
        counter.count("log.handler", "the handler's own")

    monkeypatch.setattr(caplog.handler, "emit", emit)
    counter.count("a", "something")
    assert counter.snapshot() == {"a": 1, "log.handler": 2}


async def test_layers_count_in_the_statistics_of_the_process(
    layer: InMemoryChannelLayer, counted: Callable[[], dict[str, int]]
) -> None:
    channel = await layer.new_channel()
    await layer.close_channel(channel)
    await layer.send(channel, {"type": "a"})
    assert counted() == statistics.snapshot() == {"channel.gone": 1}
