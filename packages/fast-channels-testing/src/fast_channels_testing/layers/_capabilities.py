"""What a layer may have beyond the promises that every layer keeps."""

from dataclasses import dataclass, fields
from typing import Final


@dataclass(frozen=True)
class Supported:
    """The layer has it: its tests must pass."""


@dataclass(frozen=True)
class NotSupported:
    """The layer does not have it, and why: its tests are skipped with that reason."""

    reason: str
    """What stands in the way."""

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("NotSupported needs a reason: what stands in the way?")


@dataclass(frozen=True)
class Unknown:
    """Nobody has said: its tests run, one that fails is expected to, one that passes warns."""


Support = Supported | NotSupported | Unknown

SUPPORTED: Final = Supported()
UNKNOWN: Final = Unknown()


class UndeclaredCapability(UserWarning):
    """A test of a capability that is not declared has passed: declare it."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """One line for each thing that layers may differ in. What is not named here is promised by
    every layer, and every layer is tested for it."""

    general_channels: Support = UNKNOWN
    """Channels without ``!`` carry messages, each to one receiver only."""

    general_capacity: Support = UNKNOWN
    """``send`` to a general channel that holds its capacity raises ``ChannelFull``."""

    general_members: Support = UNKNOWN
    """A general channel may be a member of a group."""

    remote_capacity: Support = UNKNOWN
    """``send`` to a full channel of another process raises ``ChannelFull``."""

    remote_members: Support = UNKNOWN
    """A process may add a channel of another one to a group, and remove it."""

    total_order: Support = UNKNOWN
    """All members of a group get the messages of all senders in one and the same order."""

    processes: Support = UNKNOWN
    """The layer reaches other processes. ``make_layer`` gives what can be pickled."""

    event_loops: Support = UNKNOWN
    """One layer object may be used from several event loops, in several threads. One that ends
    without ``close`` leaves nothing open."""

    sync_calls: Support = UNKNOWN
    """Code without an event loop may send, by ``get_sync_channel_layer`` or ``async_to_sync``."""

    fork: Support = UNKNOWN
    """A process that was forked after the layer was used may use it, too."""

    message_limit: Support = UNKNOWN
    """The option ``max_message_bytes``; what is larger raises ``MessageTooLarge``."""

    encryption: Support = UNKNOWN
    """The option ``symmetric_encryption_keys``: the first encrypts, all decrypt. What none decrypts
    is dropped, and counted in :mod:`fast_channels.statistics` as ``event.undecodable``."""

    flush: Support = UNKNOWN
    """``flush`` drops what waits, also in general channels."""

    broker_restart: Support = UNKNOWN
    """The layer works again when its broker does; members stay, and hear of the gap. It has the
    option ``send_timeout``: seconds that a call goes on trying meanwhile."""

    broker_pause: Support = UNKNOWN
    """The layer survives a broker that does not answer for a while. It has ``send_timeout``."""

    keeps_general_messages: Support = UNKNOWN
    """What waits in a general channel outlives the broker's restart. The layer has
    ``send_timeout``."""

    keeps_group_messages: Support = UNKNOWN
    """What a broker has accepted for a process whose connection broke arrives later."""

    redelivery: Support = UNKNOWN
    """What a process had taken from the broker and not handed on when it was killed is given to
    another one. The layer has the option ``claim_timeout``: seconds after which."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, Support):
                raise TypeError(
                    f"{field.name} is {value!r}, expected SUPPORTED, UNKNOWN or "
                    'NotSupported("why not")'
                )
