"""What consumers that join groups by themselves have in common."""

from collections.abc import Sequence

from fast_channels.consumer.base import AsyncConsumer
from fast_channels.layers.base import BaseChannelLayer


class GroupMember(AsyncConsumer):
    """A consumer whose channel is in groups before the application's code runs."""

    groups: Sequence[str] = ()
    """Groups that the channel joins before :meth:`connect` runs."""

    def _find_layer(self) -> BaseChannelLayer | None:
        if isinstance(self.groups, str):
            raise TypeError(
                f"{type(self).__qualname__}.groups must be a list of group names, "
                f"not the string {self.groups!r}"
            )
        if self.groups and self.channel_layer_alias is None:
            raise self._no_layer(f"groups = {self.groups!r}")
        return super()._find_layer()

    async def _join_groups(self) -> None:
        for group in self.groups:
            await self.channel_layer.group_add(group, self.channel_name)
