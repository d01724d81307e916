"""The files of examples/deploy do what docs/how-to/deploy.md says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from serving import DEADLINE

ROOT: Final = Path(__file__).parent.parent
DEPLOY: Final = ROOT / "examples" / "deploy"
UNIT: Final = DEPLOY / "tutorial.service"
TUTORIAL: Final = ROOT / "examples" / "tutorial"
PAGE: Final = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
DRAIN_ENDS_AFTER: Final = 2
"""Seconds that a drain may take beyond its timeout."""


def command_of_unit() -> list[str]:
    found = re.search(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    return found[1].split()


def kubernetes() -> dict[str, Any]:
    objects = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {f"{each['kind']} {each['metadata']['name']}": each for each in objects}


# What the page says.


@pytest.mark.parametrize(
    ("language", "block"),
    re.findall(r"^```(ini|nginx|dockerfile|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL),
)
def test_blocks_of_the_page_are_from_the_files(language: str, block: str) -> None:
    assert any(block in path.read_text() for path in DEPLOY.iterdir())


def test_whole_files_are_shown() -> None:
    shown = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names = ("tutorial.service", "tutorial.socket", "nginx.conf", "Caddyfile", "Dockerfile")
    for name in names:
        assert (DEPLOY / name).read_text() in shown, name


# What the files say.


def seconds_until_the_end(command: list[str]) -> float:
    """What a drain of the application, and then uvicorn, take at most."""
    found = re.search(r"draining\(timeout=(\d+)", (TUTORIAL / "main.py").read_text())
    assert found is not None
    graceful = command[command.index("--timeout-graceful-shutdown") + 1]
    return int(found[1]) + DRAIN_ENDS_AFTER + int(graceful)


def test_nobody_is_killed_before_the_end() -> None:
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert timeout is not None
    assert seconds_until_the_end(command_of_unit()) < int(timeout[1])

    pod = kubernetes()["Deployment web"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    program, before = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    needed = int(before) + seconds_until_the_end(container["args"])
    assert needed < pod["terminationGracePeriodSeconds"]

    web = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["web"]
    assert "command" not in web  # so that it is the image's
    assert seconds_until_the_end(command_of_image()) < int(web["stop_grace_period"].rstrip("s"))


def command_of_image() -> list[str]:
    last = (DEPLOY / "Dockerfile").read_text().strip().splitlines()[-1]
    command: list[str] = json.loads(last.removeprefix("CMD "))
    return command


def test_objects_of_kubernetes_fit_together() -> None:
    objects = kubernetes()
    for name, deployment in objects.items():
        if not name.startswith("Deployment"):
            continue
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    web = objects["Deployment web"]["spec"]
    assert objects["Service web"]["spec"]["selector"] == web["selector"]["matchLabels"]
    assert objects["PodDisruptionBudget web"]["spec"]["selector"] == web["selector"]
    container = web["template"]["spec"]["containers"][0]
    port = container["ports"][0]["containerPort"]
    assert objects["Service web"]["spec"]["ports"][0]["targetPort"] == port
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": port}
    assert container["args"][:2] == command_of_image()[:2]
    scaled = objects["HorizontalPodAutoscaler web"]["spec"]
    assert scaled["minReplicas"] == web["replicas"]


# What the files do.


def installed(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"no {program} found")
    return path


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    program = installed("systemd-analyze")
    uvicorn = command_of_unit()[0]
    for name in ("tutorial.service", "tutorial.socket"):
        text = (DEPLOY / name).read_text()
        # It looks whether the program and the folder are there.
        text = text.replace(uvicorn, sys.executable).replace("/srv/tutorial", str(TUTORIAL))
        (tmp_path / name).write_text(text)
    verified = subprocess.run(
        [program, "verify", "--man=no", *(str(path) for path in tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    # It may complain of other units of the machine.
    assert [line for line in verified.stderr.splitlines() if "tutorial" in line] == []
    assert verified.returncode == 0, verified.stderr
