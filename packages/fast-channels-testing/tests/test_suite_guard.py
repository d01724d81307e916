"""What the suite says to those who leave out a part of it, or declare what is not there."""

import asyncio
import gc
from typing import Any

import pytest

from fast_channels.layers import InMemoryChannelLayer
from fast_channels_testing.layers import (
    SUPPORTED,
    Capabilities,
    ChannelLayerSuite,
    LayerFactory,
    Layers,
    NotSupported,
    UndeclaredCapability,
)
from fast_channels_testing.layers._base import SuiteBase, layer_test

A_TEST = "test_a_channel_gets_what_is_sent_to_it_in_order"
reasoned = pytest.mark.xfail(reason="the layer keeps no order", strict=True)


def override(self: Any, layers: Layers) -> None:
    getattr(super(ChannelLayerSuite, self), A_TEST)(layers)


def suite(name: str, *bases: type, **tests: object) -> type[ChannelLayerSuite]:
    made: type[ChannelLayerSuite] = type(name, bases or (ChannelLayerSuite,), tests)
    return made


def overrides(**tests: object) -> type[ChannelLayerSuite]:
    return suite("TestMyLayer", **tests)


def layers(make_layer: LayerFactory = InMemoryChannelLayer, broker: Any = None) -> Layers:
    return Layers(make_layer, broker, 20)


def is_whole(tests: type[ChannelLayerSuite]) -> None:
    tests().test_no_test_of_the_suite_is_replaced_without_a_reason(layers())


def has_what_it_declares(given: Layers, **capabilities: Any) -> None:
    tests = overrides(capabilities=Capabilities(**capabilities))
    tests().test_what_is_declared_is_there(given)


def test_a_suite_that_is_left_alone_is_whole() -> None:
    is_whole(overrides())


@pytest.mark.parametrize("value", [None, "skipped", 0])
def test_a_test_that_is_removed_is_named(value: object) -> None:
    with pytest.raises(AssertionError, match=f"{A_TEST}, which TestMyLayer has removed: it is"):
        is_whole(overrides(**{A_TEST: value}))


def test_a_test_that_is_overridden_is_named_and_how_to_say_why() -> None:
    with pytest.raises(AssertionError) as caught:
        is_whole(overrides(**{A_TEST: override}))
    text = str(caught.value)
    assert f"{A_TEST}, which TestMyLayer has overridden with no reason" in text
    assert '@pytest.mark.xfail(reason="...", strict=True)' in text
    assert f"super().{A_TEST}(layers)" in text


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.xfail,
        pytest.mark.xfail(reason=""),
        pytest.mark.xfail(reason="  "),
        pytest.mark.skip(reason="slow"),
    ],
)
def test_only_an_expected_failure_with_a_reason_will_do(mark: pytest.MarkDecorator) -> None:
    def marked(self: Any, layers: Layers) -> None: ...

    with pytest.raises(AssertionError, match="no reason"):
        is_whole(overrides(**{A_TEST: mark(marked)}))


def test_an_expected_failure_with_a_reason_will_do() -> None:
    def marked(self: Any, layers: Layers) -> None: ...

    is_whole(overrides(**{A_TEST: reasoned(marked)}))


def test_classes_between_are_looked_into() -> None:
    def marked(self: Any, layers: Layers) -> None: ...

    mixed = suite("TestMixed", type("Mixin", (), {A_TEST: None}), ChannelLayerSuite)
    derived = suite("TestDerived", overrides(**{A_TEST: override}))
    mended = suite("TestMended", mixed, **{A_TEST: reasoned(marked)})
    spoilt_again = suite("TestSpoiltAgain", mended, **{A_TEST: override})
    with pytest.raises(AssertionError, match="which Mixin has removed"):
        is_whole(mixed)
    with pytest.raises(AssertionError, match="which TestMyLayer has overridden"):
        is_whole(derived)
    is_whole(mended)
    with pytest.raises(AssertionError, match="TestSpoiltAgain has overridden"):
        is_whole(spoilt_again)


def test_tests_of_one_s_own_are_welcome() -> None:
    is_whole(overrides(test_of_mine=override))


@pytest.mark.parametrize(
    "name",
    [
        "test_no_test_of_the_suite_is_replaced_without_a_reason",
        "test_make_layer_makes_another_layer_each_time",
        "test_what_is_declared_is_there",
    ],
)
def test_the_guard_cannot_be_removed(name: str) -> None:
    mixin = type("Mixin", (), {name: None})
    for bases, body in [
        ((ChannelLayerSuite,), {name: None}),
        ((ChannelLayerSuite,), {name: reasoned(override)}),
        ((mixin, ChannelLayerSuite), {}),
    ]:
        with pytest.raises(TypeError, match=rf"TestMyLayer replaces {name}\(\)"):
            type("TestMyLayer", bases, body)


@pytest.mark.parametrize("capabilities", [None, True, Capabilities, {"flush": SUPPORTED}])
def test_capabilities_of_another_type_are_refused(capabilities: object) -> None:
    with pytest.raises(TypeError, match="TestMyLayer.capabilities is .* expected an instance"):
        overrides(capabilities=capabilities)


@pytest.mark.parametrize("value", [True, None, "yes", NotSupported])
def test_a_capability_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="flush is .* expected SUPPORTED, UNKNOWN or"):
        Capabilities(flush=value)


def test_a_test_that_needs_what_no_layer_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="needs='telepathy' is no capability; .*'processes'"):
        layer_test("core", needs=("flush", "telepathy"))


def test_layers_that_are_none_are_refused() -> None:
    tests, layer = overrides()(), InMemoryChannelLayer()
    tests.test_make_layer_makes_another_layer_each_time(layers())
    with pytest.raises(AssertionError, match="twice, expected two layers"):
        tests.test_make_layer_makes_another_layer_each_time(layers(lambda: layer))

    class NoLayer:
        async def close(self) -> None: ...

    with pytest.raises(AssertionError, match="is not derived from BaseChannelLayer"):
        tests.test_make_layer_makes_another_layer_each_time(layers(NoLayer))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class WithoutFlush(InMemoryChannelLayer):
    extensions = ("groups",)


class HalfABroker:
    def stop(self) -> None: ...
    def start(self) -> None: ...


@pytest.mark.parametrize(
    ("given", "declared", "says"),
    [
        (layers(WithoutFlush), ["flush"], "flush: WithoutFlush.extensions does not name it"),
        (layers(lambda: InMemoryChannelLayer()), ["processes"], "processes: .*cannot be pickled"),
        (layers(), ["encryption"], "encryption: make_layer.*unexpected keyword"),
        (layers(), ["broker_pause"], "broker_pause: .*no fixture `broker`"),
        (
            layers(broker=HalfABroker()),
            ["general_channels", "keeps_general_messages"],
            "keeps_general_messages: .*has no pause, resume",
        ),
        (layers(), ["remote_members"], "remote_members: .* without processes"),
    ],
)
def test_what_is_declared_has_to_be_there(given: Layers, declared: list[str], says: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s)TestMyLayer declares .*{says}"):
        has_what_it_declares(given, **dict.fromkeys(declared, SUPPORTED))
    has_what_it_declares(given, **dict.fromkeys(declared, NotSupported("it is not")))
    has_what_it_declares(given)


def test_what_is_declared_and_there_is_fine() -> None:
    has_what_it_declares(layers(), flush=SUPPORTED, processes=SUPPORTED, message_limit=SUPPORTED)


def test_a_capability_that_is_not_declared_warns_once() -> None:
    class Tests(SuiteBase):
        @layer_test("core", needs="flush")
        async def test_one(self, layers: Layers) -> None: ...

        @layer_test("core", needs="flush")
        async def test_two(self, layers: Layers) -> None: ...

        @layer_test("core", needs=("flush", "fork"))
        async def test_three(self, layers: Layers) -> None: ...

    tests = Tests()
    with pytest.warns(UndeclaredCapability, match="test_one passes: declare flush=SUPPORTED in"):
        tests.test_one(layers())
    tests.test_two(layers())
    with pytest.warns(UndeclaredCapability, match="test_three passes: declare fork=SUPPORTED in"):
        tests.test_three(layers())


def test_a_capability_that_is_neither_declared_nor_there_is_an_expected_failure() -> None:
    class Tests(SuiteBase):
        @layer_test("core", needs="flush")
        async def test_error(self, layers: Layers) -> None:
            raise ZeroDivisionError

        @layer_test("core", needs="flush")
        async def test_no_error(self, layers: Layers) -> None:
            with pytest.raises(ZeroDivisionError):
                await layers.make().new_channel()

    for test, says in ((Tests().test_error, "ZeroDivisionError"), (Tests().test_no_error, "DID")):
        with pytest.raises(pytest.xfail.Exception, match=f"flush: not declared, .*{says}"):
            test(layers())


def test_what_is_not_declared_is_not_waited_for_long() -> None:
    seen: list[float] = []

    class Tests(SuiteBase):
        capabilities = Capabilities(flush=SUPPORTED)

        @layer_test("core", needs="flush")
        async def test_declared(self, layers: Layers) -> None:
            seen.append(layers.deadline)

        @layer_test("core", needs="fork")
        async def test_not_declared(self, layers: Layers) -> None:
            seen.append(layers.deadline)
            raise TimeoutError

    tests = Tests()
    tests.test_declared(layers())
    with pytest.raises(pytest.xfail.Exception, match="fork: not declared, not there"):
        tests.test_not_declared(layers())
    assert seen[0] == 20
    assert seen[1] < 5


def test_a_layer_that_fails_to_close_keeps_no_other_open() -> None:
    closed: list[str] = []

    class Failing(InMemoryChannelLayer):
        async def close(self) -> None:
            closed.append("second" if closed else "first")
            raise OSError(closed[-1])

    class Tests(SuiteBase):
        @layer_test("core")
        async def test_two_layers(self, layers: Layers) -> None:
            for _ in range(2):
                layers.make()

    with pytest.raises(OSError, match="first"):
        Tests().test_two_layers(layers(Failing))
    assert len(closed) == 2


def test_a_test_that_fails_leaves_nothing_for_asyncio_to_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class TestMine(SuiteBase):
        @layer_test("core")
        async def test_that_fails(self, layers: Layers) -> None:
            layer = layers.make()
            receiving = asyncio.ensure_future(layer.receive(await layer.new_channel()))
            await asyncio.sleep(0)
            assert receiving.done(), "it waits"

    with pytest.raises(AssertionError, match="it waits"):
        TestMine().test_that_fails(layers())
    gc.collect()
    assert not caplog.messages
