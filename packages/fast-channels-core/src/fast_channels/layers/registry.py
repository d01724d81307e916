"""The layers of the process, by alias."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from fast_channels.exceptions import InvalidChannelLayerError
from fast_channels.layers.base import BaseChannelLayer

__all__ = [
    "ChannelLayerRegistry",
    "channel_layers",
    "channel_layers_lifespan",
    "close_channel_layers",
    "get_channel_layer",
    "has_layers",
    "register_channel_layer",
    "unregister_channel_layer",
]


class ChannelLayerRegistry:
    """Layers by alias; ``alias in registry``, ``registry[alias]``, ``len`` and iteration work."""

    def __init__(self) -> None:
        self._layers: dict[str, BaseChannelLayer] = {}

    def register(self, alias: str, layer: BaseChannelLayer) -> None:
        """Make the layer known by ``alias``, in place of any other that was.

        Raises :class:`TypeError` if ``layer`` is not an instance of a channel layer.
        """
        if not isinstance(layer, BaseChannelLayer):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(
                f"cannot register {layer!r} as {alias!r}: expected an instance of a class derived "
                "from BaseChannelLayer, such as InMemoryChannelLayer()"
            )
        self._layers[alias] = layer

    def unregister(self, alias: str) -> None:
        """Forget an alias, known or not. The layer is not closed."""
        self._layers.pop(alias, None)

    def get(self, alias: str = "default") -> BaseChannelLayer:
        """The layer of an alias.

        Raises :class:`InvalidChannelLayerError`, which names the registered aliases.
        """
        try:
            return self._layers[alias]
        except KeyError:
            known = ", ".join(map(repr, self._layers)) or "none"
            raise InvalidChannelLayerError(
                f"no channel layer is registered as {alias!r} (registered: {known}); "
                f"call register_channel_layer({alias!r}, layer) before it is used"
            ) from None

    def list_aliases(self) -> list[str]:
        """The registered aliases, in the order of registration."""
        return list(self._layers)

    def clear(self) -> None:
        """Forget every alias. The layers are not closed."""
        self._layers.clear()

    def __getitem__(self, alias: str) -> BaseChannelLayer:
        return self.get(alias)

    def __contains__(self, alias: object) -> bool:
        return alias in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._layers))

    def __len__(self) -> int:
        return len(self._layers)


channel_layers: Final = ChannelLayerRegistry()
"""The registry of the process."""


def register_channel_layer(alias: str, layer: BaseChannelLayer) -> None:
    """Make a layer known by an alias, for ``channel_layer_alias`` and ``get_channel_layer``."""
    channel_layers.register(alias, layer)


def get_channel_layer(alias: str = "default") -> BaseChannelLayer:
    """The layer that is registered as ``alias``.

    Raises :class:`InvalidChannelLayerError`, which names the registered aliases.
    """
    return channel_layers.get(alias)


def unregister_channel_layer(alias: str) -> None:
    """Forget an alias, known or not. The layer is not closed."""
    channel_layers.unregister(alias)


def has_layers() -> bool:
    """Whether any layer is registered."""
    return len(channel_layers) > 0


async def close_channel_layers() -> None:
    """Close every registered layer for this event loop; they stay registered.

    All are closed, even if one fails; then the failures are raised, as an exception group if
    there is more than one.
    """
    failures: list[Exception] = []
    # Looked up before the first is closed: others may come and go meanwhile.
    for alias, layer in [(alias, channel_layers[alias]) for alias in channel_layers]:
        try:
            await layer.close()
        except Exception as error:
            error.add_note(f"while closing channel layer {alias!r}")
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("several channel layers failed to close", failures)


@asynccontextmanager
async def channel_layers_lifespan(app: object = None) -> AsyncGenerator[None]:
    """Closes the registered layers when the application shuts down.

    Use it as it is, ``FastAPI(lifespan=channel_layers_lifespan)``, or inside a lifespan of your
    own: ``async with channel_layers_lifespan(): ...``.
    """
    try:
        yield
    finally:
        await close_channel_layers()
