import copy
import pickle

import pytest

from fast_channels import exceptions
from fast_channels.exceptions import (
    ChannelFull,
    FastChannelsError,
    MessageTooLarge,
    TooManyGroups,
)


def test_every_public_exception_is_in_the_drawn_tree() -> None:
    drawn = {word for word in (exceptions.__doc__ or "").split() if word.isidentifier()}
    for name in exceptions.__all__:
        assert name in drawn, f"{name} is missing from the module's docstring"


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("InvalidChannelLayerError", ValueError),
        ("InvalidNameError", ValueError),
        ("InvalidNameError", TypeError),
        ("InvalidMessageError", TypeError),
        ("MessageDecodeError", ValueError),
        ("MessageTooLarge", ValueError),
        ("ChannelLayerUnavailable", ConnectionError),
        ("ConnectionStateError", RuntimeError),
        ("TooManyGroups", RuntimeError),
        ("UnhandledEventError", ValueError),
    ],
)
def test_errors_are_also_what_python_calls_them(name: str, builtin: type[Exception]) -> None:
    error = getattr(exceptions, name)
    assert issubclass(error, FastChannelsError)
    assert issubclass(error, builtin)


@pytest.mark.parametrize("name", ["AcceptConnection", "DenyConnection", "StopConsumer"])
def test_signals_are_not_errors(name: str) -> None:
    signal = getattr(exceptions, name)
    assert issubclass(signal, exceptions.ConsumerSignal)
    assert not issubclass(signal, FastChannelsError)


def test_channel_full_names_the_channel() -> None:
    error = ChannelFull("chat.room")
    assert error.channel == "chat.room"
    assert "'chat.room' is full" in str(error)


def test_message_too_large_has_both_sizes() -> None:
    error = MessageTooLarge(2048, 1024)
    assert (error.size, error.limit) == (2048, 1024)
    assert "2048 bytes" in str(error)
    assert "1024" in str(error)


@pytest.mark.parametrize("error", [ChannelFull("a"), MessageTooLarge(2, 1), TooManyGroups("a", 3)])
def test_errors_survive_copying_between_processes(error: FastChannelsError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
