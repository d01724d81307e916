import re
from pathlib import Path

import pytest
from redis_servers import RedisServer


def test_the_first_example_runs(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    exec(code.replace("redis://localhost:6379", redis_server.url), {})
    assert capsys.readouterr().out == "{'type': 'job.done', 'number': 1}\n"
