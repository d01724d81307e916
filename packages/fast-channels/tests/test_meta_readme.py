import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from fast_channels.layers import close_channel_layers, unregister_channel_layer


async def test_the_example_of_the_readme_passes() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    names: dict[str, object] = {}
    try:
        exec(example, names)
        await cast("Callable[[], Awaitable[None]]", names["test_everybody_hears_it"])()
    finally:
        await close_channel_layers()
        unregister_channel_layer("default")
