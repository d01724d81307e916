"""What a layer's author fills in, and how a test of the suite runs."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import fields
from functools import wraps
from typing import Any, ClassVar, Final, Literal, TypeVar
from weakref import WeakKeyDictionary

import pytest

from fast_channels_testing.layers._capabilities import (
    Capabilities,
    NotSupported,
    Support,
    UndeclaredCapability,
    Unknown,
)
from fast_channels_testing.layers._layers import Broker, LayerFactory, Layers

Tier = Literal[
    "core", "groups", "scale-out", "life-cycle", "durability", "extensions", "model", "guard"
]
S = TypeVar("S", bound="SuiteBase")
MARK: Final = "__layer_test__"
"""The attribute of a test of the suite that says what it is: its tier, and a tuple of the names of
the capabilities that it needs."""


_PATIENCE_WITH_UNKNOWN: Final = 2
"""Seconds that a single wait takes for what nobody has declared: it is likely to be in vain."""

_told: Final = WeakKeyDictionary[type, set[str]]()
"""The capabilities that a suite was warned of, once for all their tests."""


class SuiteBase:
    """The part of the suite that is not a test."""

    capabilities: ClassVar[Capabilities] = Capabilities()
    """What the layer has beyond the promises of every layer."""

    deadline: ClassVar[float] = 20
    """Seconds that a single wait of a test may take."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not isinstance(cls.capabilities, Capabilities):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(
                f"{cls.__qualname__}.capabilities is {cls.capabilities!r}, expected an instance "
                "such as Capabilities(processes=SUPPORTED)"
            )

    @staticmethod
    def loop_factory() -> asyncio.AbstractEventLoop:
        """Makes the event loop of each test."""
        return asyncio.new_event_loop()

    @pytest.fixture
    def make_layer(self) -> LayerFactory:
        """Yours to give: makes a layer on the broker of this test, as often as it is called."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `make_layer`, in the class, that returns what "
            "makes a layer, such as functools.partial(MyLayer, url)"
        )

    @pytest.fixture
    def broker(self) -> Broker | None:
        """Yours to give, for the tests of durability: the broker of this test, to be disturbed."""
        return None

    @pytest.fixture
    def layers(self, make_layer: LayerFactory, broker: Broker | None) -> Layers:
        """What each test works with."""
        return Layers(make_layer, broker, self.deadline)


def layer_test(
    tier: Tier, *, needs: str | tuple[str, ...] = ()
) -> Callable[[Callable[[S, Layers], Awaitable[None]]], Callable[[S, Layers], None]]:
    """Make a coroutine a test of the suite, which runs it in an event loop of its own.

    ``needs`` names the capability that it tests, or several; without one, every layer has to
    pass. Afterwards the layers are closed, and no task may be left. Raises :class:`ValueError`
    for a capability that does not exist.
    """
    names = (needs,) if isinstance(needs, str) else needs
    known = [field.name for field in fields(Capabilities)]
    for name in names:
        if name not in known:
            raise ValueError(f"needs={name!r} is no capability; expected one of {known}")

    def decorate(test: Callable[[S, Layers], Awaitable[None]]) -> Callable[[S, Layers], None]:
        @wraps(test)
        def run(self: S, layers: Layers) -> None:
            support: dict[str, Support] = {name: getattr(self.capabilities, name) for name in names}
            for name, value in support.items():
                if isinstance(value, NotSupported):
                    pytest.skip(f"{name} is not supported: {value.reason}")
            unknown = [name for name, value in support.items() if isinstance(value, Unknown)]
            if unknown:
                layers.deadline = min(layers.deadline, _PATIENCE_WITH_UNKNOWN)
            try:
                with asyncio.Runner(loop_factory=self.loop_factory) as runner:
                    runner.run(_run(test(self, layers), layers))
            # What pytest.raises() raises in vain is no Exception.
            except (Exception, pytest.fail.Exception) as error:
                if unknown:
                    pytest.xfail(f"{' and '.join(unknown)}: not declared, not there: {error!r}")
                raise
            told = _told.setdefault(type(self), set())
            news = [name for name in unknown if name not in told]
            told.update(news)
            if news:
                declared = ", ".join(f"{name}=SUPPORTED" for name in news)
                warnings.warn(
                    f"{test.__name__} passes: declare {declared} in the capabilities of "
                    f"{type(self).__name__}, or NotSupported(reason)",
                    UndeclaredCapability,
                    stacklevel=1,
                )

        setattr(run, MARK, (tier, names))
        return run

    return decorate


def mark_of(suite: type, name: str) -> tuple[Tier, tuple[str, ...]] | None:
    """The tier of a test and what it needs, also of one that was overridden; None for others."""
    tests = (vars(base).get(name) for base in suite.__mro__)
    return next((getattr(test, MARK) for test in tests if hasattr(test, MARK)), None)


async def _run(test: Awaitable[None], layers: Layers) -> None:
    try:
        # Far more than any test takes, for calls of the layer that never return.
        async with asyncio.timeout(10 * layers.deadline):
            await test
    finally:
        # Those that a test which failed has left: asyncio would log what becomes of them, at a
        # time when another test runs.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.add_done_callback(_retrieve_exception)
        await layers.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"these tasks were left when every layer was closed: {left}"


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
