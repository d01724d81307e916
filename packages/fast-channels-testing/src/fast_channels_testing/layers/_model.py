"""Any sequence of calls, beside a model of dicts and sets."""

import asyncio
import secrets
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, assume, reject, settings
from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.errors import Flaky, Unsatisfiable, UnsatisfiedAssumption
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fast_channels_testing.layers._base import SuiteBase, layer_test
from fast_channels_testing.layers._calls import (
    Add,
    Call,
    Caller,
    Cancel,
    Close,
    Discard,
    GroupSend,
    Receive,
    Send,
)
from fast_channels_testing.layers._capabilities import Capabilities
from fast_channels_testing.layers._layers import Layers
from fast_channels_testing.layers._oracle import Channel

T = TypeVar("T")

GROUPS: Final = ("a", "b")
MOST_CHANNELS: Final = 5
PATIENCE: Final = 0.1
"""Seconds that a wait may take while a sequence that fails is shortened."""
TIME_TO_SHORTEN: Final = 10
"""Seconds after which it is short enough."""
HEALTH_CHECKS: Final = (
    HealthCheck.data_too_large,
    HealthCheck.filter_too_much,
    HealthCheck.large_base_example,
    HealthCheck.too_slow,
)
"""What Hypothesis does not have to say about tests that wait for a broker."""
CAPACITY: Final = 1000
"""Nobody is to be full: what happens then differs from layer to layer."""

_channels: Bundle[Channel] = Bundle("channels")
_layer = st.integers(0, 1)
_group = st.sampled_from(GROUPS)
_now_and_then = st.sampled_from([False, False, False, True])
_rounds = st.integers(0, 3)
_send = st.builds(Send, _layer, _channels)
_receive = st.builds(Receive, _layer, _channels, st.none() | _rounds)
# What matters most comes twice.
_call: st.SearchStrategy[Call] = st.one_of(
    _send,
    _receive,
    st.builds(GroupSend, _layer, _group),
    st.builds(Add, _layer, _group, _channels),
    st.builds(Discard, _layer, _group, _channels),
    st.builds(Cancel, _channels, st.integers(0, 2), _rounds),
    st.builds(Close, _channels),
    _send,
    _receive,
)


class ModelTier(SuiteBase):
    """Any sequence of calls, beside a model of dicts and sets.

    Every call goes to the layer and to the model, which says what each channel has to receive. A
    failure names the shortest sequence of calls that was found to cause it. The same sequences
    are tried in every run.
    """

    model_examples: ClassVar[int] = 20
    """How many sequences of calls are tried, on one layer and again on two."""

    @layer_test("model")
    async def test_any_sequence_of_calls_agrees_with_the_model(self, layers: Layers) -> None:
        await _try_examples(layers, self.capabilities, 1, self.model_examples)

    @layer_test("model", needs="processes")
    async def test_any_sequence_of_calls_on_two_layers_agrees_with_the_model(
        self, layers: Layers
    ) -> None:
        await _try_examples(layers, self.capabilities, 2, self.model_examples)


class Hung(Exception):
    """A call did not return in time, or a message did not arrive."""


class _Loop:
    """The event loop of the test, for the thread that Hypothesis runs in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stopped = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if self.stopped:
            work.close()
            raise RuntimeError("the test was cancelled")
        return asyncio.run_coroutine_threadsafe(_in_time(work), self._loop).result()


async def _in_time(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except TimeoutError as error:
        # asyncio makes another TimeoutError of one that goes to another thread.
        raise Hung(str(error)) from error


class LayerMachine(RuleBasedStateMachine):
    """One example: layers of its own, and what is called on them."""

    channels = _channels
    first_failure: ClassVar[tuple[Exception, list[object]] | None] = None
    """And what had been called until then."""
    shorten_until: ClassVar[float | None] = None
    """When a failure is being shortened: the time of ``time.monotonic()`` at which to stop. An
    example that hangs is ignored then; what is looked for is another failure."""

    def __init__(self, loop: _Loop, layers: Layers, capabilities: Capabilities, count: int) -> None:
        super().__init__()
        if self.shorten_until is not None and not current_build_context().is_final:
            assume(time.monotonic() < self.shorten_until)
        self._loop = loop
        self._count = count
        self._failed = False
        self._called: list[object] = []
        # The broker may keep what an example leaves in groups and general channels.
        unique = secrets.token_hex(4)

        async def make() -> Caller:
            made = [layers.make(capacity=CAPACITY) for _ in range(count)]
            return Caller(layers, made, capabilities, f"model.{unique}", GROUPS)

        self._caller = loop.run(make())

    def _run(self, work: Coroutine[Any, Any, T], *called: object) -> T:
        self._called.append(called)
        try:
            return self._loop.run(work)
        except Exception as error:
            self._failed = True
            if self.first_failure is None:
                type(self).first_failure = error, self._called
            if isinstance(error, Hung) and self.shorten_until is not None:
                reject()
            raise

    @initialize(target=_channels)
    def start(self) -> MultipleResults[Channel]:
        opened = [
            self._run(self._caller.new_channel(layer), "new_channel", layer)
            for layer in range(self._count)
        ]
        return multiple(*opened, *self._caller.general_channels("x", "y"))

    @precondition(lambda self: len(self._caller.open_channels) < MOST_CHANNELS)
    @rule(target=_channels, layer=_layer)
    def new_channel(self, layer: int) -> Channel:
        return self._run(self._caller.new_channel(layer), "new_channel", layer)

    @rule(calls=st.lists(_call, min_size=1, max_size=12), settle=_now_and_then)
    def call_in_turn(self, calls: list[Call], settle: bool) -> None:
        self._run(self._caller.call_in_turn(calls, settle=settle), "call_in_turn", calls, settle)

    @rule(calls=st.lists(_call, min_size=2, max_size=6), settle=_now_and_then)
    def call_at_once(self, calls: list[Call], settle: bool) -> None:
        self._run(self._caller.call_at_once(calls, settle=settle), "call_at_once", calls, settle)

    @rule(layer=_layer)
    def close_layer(self, layer: int) -> None:
        self._run(self._caller.close_layer(layer), "close_layer", layer)

    def teardown(self) -> None:
        try:
            try:
                if not self._failed:
                    self._run(self._caller.settle(), "settle")
            finally:
                self._loop.run(self._caller.end())
        except (Hung, UnsatisfiedAssumption):
            # Hypothesis takes no rejection at the end; an example that passed is as good.
            if self.shorten_until is None:
                raise


async def _try_examples(
    layers: Layers, capabilities: Capabilities, count: int, examples: int
) -> None:
    loop = _Loop()

    class Machine(LayerMachine):
        def __init__(self) -> None:
            super().__init__(loop, layers, capabilities, count)

    try:
        await asyncio.to_thread(_search, Machine, layers, examples)
    finally:
        loop.stopped = True


def _search(machine: type[LayerMachine], layers: Layers, examples: int) -> None:
    find = settings(
        max_examples=examples,
        stateful_step_count=20,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=Verbosity.normal,
        suppress_health_check=HEALTH_CHECKS,
    )
    deadline = layers.deadline
    try:
        run_state_machine_as_test(machine, settings=find)
    except Hung:
        raise  # To shorten the sequence is to wait as long again for each attempt.
    except Flaky:
        if machine.first_failure is None:
            raise
        error, called = machine.first_failure
        lines = "\n".join(map(repr, called))
        error.add_note(f"It did not happen again when the same was called again:\n{lines}")
        raise error from None
    except Exception:
        layers.deadline = min(deadline, PATIENCE)
        machine.shorten_until = time.monotonic() + min(TIME_TO_SHORTEN, deadline)
        try:
            shorten = settings(find, phases=[Phase.generate, Phase.shrink])
            run_state_machine_as_test(machine, settings=shorten)
        except (Flaky, Unsatisfiable):
            pass  # No shorter one was found in time.
        raise
    finally:
        layers.deadline = deadline
