"""docs/how-to/monitoring.md names every counter, and its round trip tells a layer that works from
one that does not."""

import re
import runpy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from layer_faults import DEADLINE, MakeLayer, both_layers, on_one_server, within_deadline
from redis_servers.fixtures import ServerFactory

from fast_channels import statistics

PassesMessages: TypeAlias = Callable[..., Awaitable[bool]]

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "monitoring.md"


@pytest.fixture(scope="module")
def passes_messages(
    tmp_path_factory: pytest.TempPathFactory,
) -> PassesMessages:
    text = PAGE.read_text().partition("import asyncio\n")[2].partition("\n\n\nassert ")[0]
    module = tmp_path_factory.mktemp("health") / "health.py"
    module.write_text(f"import asyncio\n{text}")
    function: PassesMessages
    function = runpy.run_path(str(module))["passes_messages"]
    return function


@on_one_server
@both_layers
async def test_it_is_false_while_redis_is_silent_or_away(
    passes_messages: PassesMessages,
    own_server: ServerFactory,
    make_layer: MakeLayer,
    kind: str,
) -> None:
    server = own_server()
    layer = make_layer(kind, server.url)
    assert await within_deadline(passes_messages(layer, patience=DEADLINE))
    server.freeze()
    assert not await within_deadline(passes_messages(layer, patience=0.5))
    server.kill()
    assert not await within_deadline(passes_messages(layer, patience=0.5))
    server.restart()
    assert await within_deadline(passes_messages(layer, patience=DEADLINE))


def test_every_reason_is_named() -> None:
    reasons = re.findall(r"^``([a-z_]+\.[a-z_]+)`` ", statistics.__doc__ or "", re.MULTILINE)
    assert "event.full" in reasons
    page = PAGE.read_text()
    assert [reason for reason in reasons if f"`{reason}`" not in page] == []
