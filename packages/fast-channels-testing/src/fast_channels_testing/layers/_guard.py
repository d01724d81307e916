"""That the suite runs whole, and that the layer has what is declared."""

import pickle
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing.layers._base import MARK, SuiteBase, layer_test
from fast_channels_testing.layers._capabilities import Capabilities, Supported
from fast_channels_testing.layers._layers import Layers

_NEEDS_BROKER: Final = (
    "broker_restart",
    "broker_pause",
    "keeps_general_messages",
    "keeps_group_messages",
)
_BROKER_METHODS: Final = ("stop", "start", "pause", "resume")

_NEEDS_OPTION: Final[Mapping[str, Mapping[str, Any]]] = {
    "message_limit": {"max_message_bytes": 1000},
    "encryption": {"symmetric_encryption_keys": ["one", "two"]},
    "broker_restart": {"send_timeout": 5},
    "broker_pause": {"send_timeout": 5},
    "keeps_general_messages": {"send_timeout": 5},
    "redelivery": {"claim_timeout": 5},
}

_IMPLIES: Final = {
    "general_capacity": "general_channels",
    "general_members": "general_channels",
    "keeps_general_messages": "general_channels",
    "remote_capacity": "processes",
    "remote_members": "processes",
    "fork": "processes",
    "redelivery": "processes",
}

_KIT: Final = __name__.rpartition(".")[0]


class GuardTier(SuiteBase):
    """That the suite runs whole, and that the layer has what is declared."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, guard in vars(GuardTier).items():
            if hasattr(guard, MARK) and getattr(cls, name, None) is not guard:
                raise TypeError(
                    f"{cls.__qualname__} replaces {name}(), which watches over the other tests "
                    "of the suite; override those that your layer does not pass instead"
                )

    @layer_test("guard")
    async def test_no_test_of_the_suite_is_replaced_without_a_reason(self, layers: Layers) -> None:
        replaced = sorted(_replaced(type(self)))
        name = replaced[0][0] if replaced else ""
        assert not replaced, "\n".join(
            [
                f"{type(self).__qualname__} does not run these tests of the suite as they are:",
                *(f"  {test}, which {by} has {how}" for test, by, how in replaced),
                "Let the suite's own run; of one that your layer does not pass, say why:",
                "",
                '    @pytest.mark.xfail(reason="...", strict=True)',
                f"    def {name}(self, layers: Layers) -> None:",
                f"        super().{name}(layers)",
            ]
        )

    @layer_test("guard")
    async def test_make_layer_makes_another_layer_each_time(self, layers: Layers) -> None:
        made = [layers.make() for _ in range(2)]
        for layer in made:
            assert isinstance(layer, BaseChannelLayer), (
                f"make_layer returned {layer!r}, which is not derived from BaseChannelLayer"
            )
        assert made[0] is not made[1], f"make_layer returned {made[0]!r} twice, expected two layers"

    @layer_test("guard")
    async def test_what_is_declared_is_there(self, layers: Layers) -> None:
        missing = list(_missing(self.capabilities, layers))
        assert not missing, "\n".join(
            [
                f"{type(self).__qualname__} declares what its layer or its fixtures do not have:",
                *(f"  {line}" for line in missing),
                "Add what is missing, or declare NotSupported(reason).",
            ]
        )


def _replaced(suite: type[SuiteBase]) -> Iterator[tuple[str, str, str]]:
    """Tests that are not the suite's own: their names, by which class, and how."""
    tests = {
        name
        for base in suite.__mro__
        if base.__module__.startswith(_KIT)
        for name, value in vars(base).items()
        if hasattr(value, MARK)
    }
    for name in tests:
        owner = next(base for base in suite.__mro__ if name in vars(base))
        test = vars(owner)[name]
        if owner.__module__.startswith(_KIT) or _has_reason(test):
            continue
        how = "overridden with no reason" if callable(test) else f"removed: it is {test!r}"
        yield name, owner.__qualname__, how


def _has_reason(test: object) -> bool:
    return callable(test) and any(
        mark.name == "xfail" and str(mark.kwargs.get("reason", "")).strip()
        for mark in getattr(test, "pytestmark", [])
    )


def _missing(capabilities: Capabilities, layers: Layers) -> Iterator[str]:
    def declared(name: str) -> bool:
        return isinstance(getattr(capabilities, name), Supported)

    for name, other in _IMPLIES.items():
        if declared(name) and not declared(other):
            yield f"{name}: it means little without {other}, which is not declared"
    if declared("flush"):
        layer = layers.make()
        if "flush" not in layer.extensions:
            yield f"flush: {type(layer).__qualname__}.extensions does not name it"
    if declared("processes"):
        try:
            pickle.dumps(layers.make_layer)
        except Exception as error:
            yield (
                f"processes: what make_layer returned, {layers.make_layer!r}, cannot be pickled "
                f"for another process ({error}); return functools.partial(MyLayer, url)"
            )
    for name, options in _NEEDS_OPTION.items():
        if declared(name):
            try:
                layers.make(**options)
            except Exception as error:
                yield f"{name}: make_layer(**{options!r}) raised {error!r}"
    yield from _missing_broker([name for name in _NEEDS_BROKER if declared(name)], layers)


def _missing_broker(needed_by: list[str], layers: Layers) -> Iterator[str]:
    if not needed_by:
        return
    try:
        broker = layers.broker
    except LookupError:
        yield f"{', '.join(needed_by)}: the suite has no fixture `broker` of yours to disturb it"
        return
    absent = [name for name in _BROKER_METHODS if not callable(getattr(broker, name, None))]
    if absent:
        yield f"{', '.join(needed_by)}: {broker!r} has no {', '.join(absent)}"
