"""The blocks of docs/tutorial/, one after the other, are the application in examples/tutorial/."""

import re
from collections.abc import Sequence
from pathlib import Path

from tutorial_steps import Step, TextError, chapters, files_after, steps_of

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial"
EXAMPLE = ROOT / "examples" / "tutorial"
OF_THE_DEMO = {"serve.py", "companions.py"}
"""What starts all of it at once; readers start it by themselves."""

MARKDOWN = "\n".join((TUTORIAL / f"{name}.md").read_text() for name in chapters(TUTORIAL))


def built(steps: Sequence[Step]) -> dict[str, str]:
    return files_after(steps, {})


def test_text_builds_the_application() -> None:
    theirs = {path.name: path.read_text() for path in EXAMPLE.glob("*.py")}
    files = built(steps_of(MARKDOWN))
    assert files.keys() == theirs.keys() - OF_THE_DEMO
    for name, text in files.items():
        assert text == theirs[name], name


def test_every_line_of_the_text_counts() -> None:
    """Without any one of them, the reader has other files or a step that cannot be taken."""
    whole = built(steps_of(MARKDOWN))
    needless: list[str] = []
    for block in re.finditer(r"^```(python|diff)\n# \w+\.py\n(.*?)^```$", MARKDOWN, re.M | re.S):
        for line in re.finditer(r"[^\n]*\n", block[2]):
            if block[1] == "diff" and line[0][0] in " \n…":
                continue  # it only says where a change belongs
            start = block.start(2) + line.start()
            without = MARKDOWN[:start] + MARKDOWN[start + len(line[0]) :]
            try:
                if built(steps_of(without)) == whole:
                    needless.append(line[0])
            except TextError:
                pass
    assert needless == []
