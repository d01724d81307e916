"""Test tools; the code lives in the ``fast-channels-testing`` distribution."""

try:
    from fast_channels_testing import (
        ApplicationCommunicator,
        ApplicationEnded,
        AssertNotSent,
        AssertSent,
        CapturedMessage,
        CapturedMessages,
        ChannelLayerOverrides,
        CommunicatorTimeout,
        Fault,
        FaultyChannelLayer,
        HttpCommunicator,
        HttpResponse,
        HttpResponseStart,
        LifespanFailed,
        RunningApplication,
        ServerSentEvent,
        UnexpectedFrame,
        WebsocketClosed,
        WebsocketCommunicator,
        lifespan,
    )
except ModuleNotFoundError as _error:
    if _error.name != "fast_channels_testing":
        raise  # the distribution is there; something that it imports is not
    # `name` is the missing module's: `from fast_channels import testing` swallows an error that
    # names this one.
    raise ModuleNotFoundError(
        "fast_channels.testing needs the fast-channels-testing distribution; "
        "install it with: pip install fast-channels-testing",
        name="fast_channels_testing",
    ) from None

__all__ = [
    "ApplicationCommunicator",
    "ApplicationEnded",
    "AssertNotSent",
    "AssertSent",
    "CapturedMessage",
    "CapturedMessages",
    "ChannelLayerOverrides",
    "CommunicatorTimeout",
    "Fault",
    "FaultyChannelLayer",
    "HttpCommunicator",
    "HttpResponse",
    "HttpResponseStart",
    "LifespanFailed",
    "RunningApplication",
    "ServerSentEvent",
    "UnexpectedFrame",
    "WebsocketClosed",
    "WebsocketCommunicator",
    "lifespan",
]
