"""What the model of the conformance suite says of a layer that does not agree with it."""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers import Capabilities, ChannelLayerSuite, Layers
from fast_channels_testing.layers._base import mark_of


def failure(layer: type[InMemoryChannelLayer], deadline: float = 20) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the caller looks at it
        ChannelLayerSuite().test_any_sequence_of_calls_agrees_with_the_model(
            Layers(layer, None, deadline)
        )
    return caught.value


def notes(error: Exception) -> str:
    return "\n".join(getattr(error, "__notes__", []))


class SendsTwice(InMemoryChannelLayer):
    async def group_send(self, group: str, message: Mapping[str, Any]) -> None:
        for _ in range(2):
            await super().group_send(group, message)


def test_a_failure_says_what_came_and_the_calls_that_cause_it() -> None:
    error = failure(SendsTwice)
    assert isinstance(error, AssertionError)
    assert "a second time" in str(error)
    text = notes(error)
    assert "state.start()" in text
    assert "state.teardown()" in text
    assert len(text.splitlines()) < 10, "it was not shortened"


class NeverAnswers(InMemoryChannelLayer):
    async def group_discard(self, group: str, channel: str) -> None:
        await asyncio.Event().wait()


def test_a_call_that_hangs_is_named() -> None:
    error = failure(NeverAnswers, 2)
    assert "waited 2 s in vain for" in str(error)
    assert "Discard(" in str(error)
    assert "state.start()" in notes(error)


def test_a_failure_that_does_not_happen_again_is_told_with_its_calls() -> None:
    sent = 0

    class FailsOnce(InMemoryChannelLayer):
        async def send(self, channel: str, message: Mapping[str, Any]) -> None:
            nonlocal sent
            sent += 1
            if sent == 100:
                raise OSError("only once")
            await super().send(channel, message)

    error = failure(FailsOnce)
    assert repr(error) == "OSError('only once')"
    assert "It did not happen again" in notes(error)
    assert "Send(layer=" in notes(error)


def test_each_capability_has_a_test() -> None:
    marks = [mark_of(ChannelLayerSuite, name) for name in dir(ChannelLayerSuite)]
    tested = {need for mark in marks if mark is not None for need in mark[1]}
    assert tested == {field.name for field in fields(Capabilities)}
