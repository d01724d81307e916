"""The plugin in a project that does not use it."""

import subprocess
import sys


def test_the_plugin_imports_nothing_until_a_fixture_is_used() -> None:
    code = (
        "import sys, fast_channels_testing.pytest_plugin\n"
        "print(*sorted(name for name in sys.modules if name.startswith('fast_channels')))\n"
        "print('hypothesis' in sys.modules)\n"
        "from fast_channels_testing import *\n"
        "print(WebsocketCommunicator.__module__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.splitlines() == [
        "fast_channels_testing fast_channels_testing.pytest_plugin",
        "False",
        "fast_channels_testing.websocket",
    ]


def test_an_older_pytest_can_load_it() -> None:
    """It is loaded wherever it is installed: in production's dependencies, with any pytest."""
    code = (
        "import pytest\n"
        "del pytest.FixtureDef  # which came with pytest 8.1\n"
        "import fast_channels_testing.pytest_plugin\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
