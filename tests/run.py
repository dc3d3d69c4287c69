"""Runs the layers of tests in order, shows each one's progress, and ends with one verdict.

``python tests/run.py lint unit redis api e2e``: a failing layer does not stop the next, so that one run shows all.
What a layer needs from outside (binaries, images) is installed before it, each with a line of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = ROOT / ".venv" / "bin"
PYTEST = [str(BIN / "python"), "-m", "pytest", "-q"]

LAYERS: dict[str, list[list[str]]] = {
    "lint": [["make", "--no-print-directory", "lint"]],
    "unit": [[*PYTEST, "--numprocesses=2", "--dist=loadfile", "tests/unit", "tests/contract"]],
    "redis": [[*PYTEST, "--numprocesses=2", "--dist=loadfile", "tests/redis"]],
    "api": [[*PYTEST, "tests/cluster"], [*PYTEST, "--numprocesses=2", "--dist=loadfile", "tests/api"]],
    "e2e": [[*PYTEST, "tests/e2e"]],
}
TOOLS = [sys.executable, "-m", "cluster", "tools"]
NEEDS: dict[str, list[str]] = {"unit": TOOLS, "redis": TOOLS, "api": TOOLS, "e2e": TOOLS}
COUNTED = re.compile(r"(\d+) (passed|failed|error)")


def run(command: list[str]) -> tuple[bool, dict[str, int]]:
    """Run one command, passing its output on; whether it succeeded and what its last line counted."""
    counts: dict[str, int] = {}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if re.search(r" in \d+\.\d+s", line):
                counts = {word: int(number) for number, word in COUNTED.findall(line)}
    return process.returncode == 0, counts


def main(layers: list[str]) -> int:
    """Exit status: 0 when every layer passed."""
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown or not layers:
        print(f"unknown layer {' '.join(unknown)}; choose from {' '.join(LAYERS)}", file=sys.stderr)
        return 2
    prepared: set[tuple[str, ...]] = set()
    verdicts: list[tuple[str, bool, float]] = []
    passed = failed = 0
    for layer in layers:
        print(f"\n=== {layer} ===", flush=True)
        began = time.monotonic()
        good = True
        need = NEEDS.get(layer)
        if need and tuple(need) not in prepared:
            prepared.add(tuple(need))
            good, _ = run(need)
        for command in LAYERS[layer]:
            done, counts = run(command)
            good = good and done
            passed += counts.get("passed", 0)
            failed += counts.get("failed", 0) + counts.get("error", 0)
        verdicts.append((layer, good, time.monotonic() - began))
    print("\n=== verdict ===")
    for layer, good, took_s in verdicts:
        print(f"{'pass' if good else 'FAIL'}  {layer:6} {took_s:6.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 0 if all(good for _, good, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
