import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Found also where neither the example nor its tests are installed.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from nats_server import NatsServer  # it can be found now


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: NatsServer) -> Iterator[NatsServer]:
    """A server that the test may stop and pause. Its layers have a prefix of their own."""
    yield shared_server
    shared_server.repair()
