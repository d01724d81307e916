"""The registry of layers during one test: what is put in place of others, what is sent."""

import copy
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from fast_channels.layers import BaseChannelLayer, ChannelLayerRegistry, channel_layers
from fast_channels_testing._patches import Patches
from fast_channels_testing.captured import CapturedMessage, CapturedMessages

# A layer may hand a call on: to another layer, to its own other methods, to another event loop.
# What was sent is what the application has called.
_handed_on: ContextVar[bool] = ContextVar("_handed_on", default=False)


class RegistryScope:
    """Holds layers in place of others, captures messages, and leaves the registry as it was."""

    def __init__(self) -> None:
        self._before = {alias: channel_layers[alias] for alias in channel_layers}
        self._held: dict[str, BaseChannelLayer] = {}
        self._messages: list[CapturedMessage] | None = None
        self._listening: list[BaseChannelLayer] = []
        self._register = channel_layers.register
        self._patches = Patches()
        self._patches.set(channel_layers, "register", self._registered)
        self.on_register: Callable[[str, BaseChannelLayer], None] = lambda alias, layer: None
        """Called for each layer that the application registers and that is not held off."""

    @property
    def held(self) -> Mapping[str, BaseChannelLayer]:
        """The layers that stand in for others, by alias."""
        return self._held

    def original(self, alias: str) -> BaseChannelLayer | None:
        """What was registered when the test began."""
        return self._before.get(alias)

    @property
    def original_aliases(self) -> list[str]:
        return list(self._before)

    def hold(self, alias: str, layer: BaseChannelLayer) -> None:
        """Register a layer that stays registered until the test is over, whatever else is."""
        self._register(alias, layer)
        self._held[alias] = layer
        self._listen(layer)

    def _registered(self, alias: str, layer: BaseChannelLayer) -> None:
        if alias in self._held:
            ChannelLayerRegistry().register(alias, layer)  # Raises what it would have raised.
            self._register(alias, self._held[alias])
            return
        self._register(alias, layer)
        self.on_register(alias, layer)
        self._listen(layer)

    def restore(self) -> None:
        self._patches.undo()
        self._messages = None
        channel_layers.clear()
        for alias, layer in self._before.items():
            channel_layers.register(alias, layer)

    def capture(self) -> CapturedMessages:
        """What is sent from now on."""
        self._messages = []
        for alias in channel_layers:
            self._listen(channel_layers[alias])
        return CapturedMessages(self._messages)

    def _listen(self, layer: BaseChannelLayer) -> None:
        if self._messages is None or any(layer is each for each in self._listening):
            return
        self._listening.append(layer)
        send, group_send = layer.send, layer.group_send

        @wraps(send)
        async def captured_send(channel: str, message: Mapping[str, Any]) -> None:
            with self._capturing(layer, None, channel, message):
                await send(channel, message)

        @wraps(group_send)
        async def captured_group_send(group: str, message: Mapping[str, Any]) -> None:
            with self._capturing(layer, group, None, message):
                await group_send(group, message)

        # The layer stays what it is: an application may ask for its class, and core does.
        self._patches.set(layer, "send", captured_send)
        self._patches.set(layer, "group_send", captured_group_send)

    @contextmanager
    def _capturing(
        self,
        layer: BaseChannelLayer,
        group: str | None,
        channel: str | None,
        message: Mapping[str, Any],
    ) -> Generator[None]:
        messages = self._messages
        aliases = tuple(each for each in channel_layers if channel_layers[each] is layer)
        if messages is None or not aliases or _handed_on.get():
            yield
            return
        captured = CapturedMessage(aliases, group, channel, _copied(message))
        messages.append(captured)
        token = _handed_on.set(True)
        try:
            yield
        except Exception:
            # It was refused. (Cancelled, it may have been sent.)
            messages[:] = [each for each in messages if each is not captured]
            raise
        finally:
            _handed_on.reset(token)


def _copied(message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(message))
    except Exception:
        return {}  # The layer will refuse it, too.
