"""What the conformance suite is told of the in-memory layer, also when it is in another one."""

from typing import Final

from fast_channels_testing.layers import SUPPORTED, Capabilities, NotSupported

_ONE_PROCESS: Final = NotSupported("it has no broker")

IN_MEMORY: Final = Capabilities(
    general_channels=SUPPORTED,
    general_capacity=SUPPORTED,
    general_members=SUPPORTED,
    remote_capacity=_ONE_PROCESS,
    remote_members=_ONE_PROCESS,
    total_order=SUPPORTED,
    processes=_ONE_PROCESS,
    event_loops=SUPPORTED,
    sync_calls=SUPPORTED,
    fork=_ONE_PROCESS,
    message_limit=SUPPORTED,
    encryption=NotSupported("no byte leaves the process"),
    flush=SUPPORTED,
    broker_restart=_ONE_PROCESS,
    broker_pause=_ONE_PROCESS,
    keeps_general_messages=_ONE_PROCESS,
    keeps_group_messages=_ONE_PROCESS,
    redelivery=_ONE_PROCESS,
)
