"""Compare what mypy and pyright report in planted_mistakes.py with the lines marked `# error`.

A public name that has silently become `Any` hides mistakes from users; here it shows as a
marked line that a checker lets pass.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

PLANTED = Path(__file__).with_name("planted_mistakes.py")


def marked() -> set[int]:
    lines = PLANTED.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("  # error")}


def output_of(*command: str) -> str:
    # The exit status says nothing here: there are errors, or else this check fails anyway.
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def by_mypy() -> set[int]:
    output = output_of(sys.executable, "-m", "mypy", "--strict", "--no-pretty", str(PLANTED))
    return {int(n) for n in re.findall(r"planted_mistakes\.py:(\d+): error:", output)}


def by_pyright() -> set[int]:
    command = ("pyright", "--outputjson", "--pythonpath", sys.executable, str(PLANTED))
    report = json.loads(output_of(*command))
    return {
        diagnostic["range"]["start"]["line"] + 1
        for diagnostic in report["generalDiagnostics"]
        if diagnostic["severity"] == "error"
    }


def main() -> int:
    expected = marked()
    if not expected:
        sys.exit(f"{PLANTED.name} has no line marked `# error`")
    failed = False
    for checker, reported in (("mypy", by_mypy()), ("pyright", by_pyright())):
        for line in sorted(expected - reported):
            print(f"{PLANTED.name}:{line}: {checker} does not see the mistake")
        for line in sorted(reported - expected):
            print(f"{PLANTED.name}:{line}: {checker} reports an error that is not marked")
        failed |= reported != expected
        print(f"{checker}: {len(expected & reported)} of {len(expected)} planted mistakes caught")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
