"""Layers in place of those that an application registers, for the time of one test."""

from collections.abc import Callable, Iterator

from fast_channels.layers import BaseChannelLayer
from fast_channels_testing._plugin_registry import RegistryScope

__all__ = ["ChannelLayerOverrides"]


class ChannelLayerOverrides:
    """Which layer an alias means during the test; the fixture ``channel_layers``.

    Every alias that is registered when the test begins has a layer of its own here, and so has
    "default". They stay in place until the test is over: what the application registers under
    such an alias meanwhile, in its lifespan for instance, is set aside. Aliases that it only
    registers during the test, and that are not to be its own choice, are overridden by name::

        channel_layers["chat"]
        channel_layers.override("jobs", FaultyChannelLayer(...))

    Afterwards the registry is as it was, and all layers that were put in here are closed.
    """

    def __init__(
        self,
        registry: RegistryScope,
        make: Callable[[], BaseChannelLayer],
        put_in: Callable[[str, BaseChannelLayer], None],
    ) -> None:
        self._registry = registry
        self._make = make
        self._put_in = put_in
        for alias in registry.original_aliases:
            # An application that uses one layer by two names finds one layer.
            twins = (each for each in self if registry.original(each) is registry.original(alias))
            twin = next(twins, None)
            self.override(alias, None if twin is None else registry.held[twin])
        self["default"]

    def override(self, alias: str, layer: BaseChannelLayer | None = None) -> BaseChannelLayer:
        """Put a layer in, a new one unless it is given, and return it.

        Raises :class:`TypeError` if ``layer`` is not an instance of a channel layer.
        """
        if layer is None:
            layer = self._make()
        self._registry.hold(alias, layer)
        self._put_in(alias, layer)
        return layer

    def __getitem__(self, alias: str) -> BaseChannelLayer:
        """The layer that an alias means in this test; an override with a new one if it had none."""
        if alias not in self._registry.held:
            return self.override(alias)
        return self._registry.held[alias]

    def __contains__(self, alias: object) -> bool:
        return alias in self._registry.held

    def __iter__(self) -> Iterator[str]:
        """The aliases that are overridden."""
        return iter(tuple(self._registry.held))

    def __len__(self) -> int:
        return len(self._registry.held)
