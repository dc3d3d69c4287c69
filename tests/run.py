"""Runs the layers of tests, shows their progress, and ends with one verdict.

``python tests/run.py lint unit redis api e2e``: a failing layer does not stop the next, so that one run shows all.
Layers that leave each other the processor run at the same time; what the later one says is shown when it is through.
What layers need from outside (binaries, images) is installed before them, with lines of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = ROOT / ".venv" / "bin"
PYTEST = [str(BIN / "python"), "-m", "pytest", "-q"]

LAYERS: dict[str, list[list[str]]] = {
    "lint": [["make", "--no-print-directory", "lint"]],
    "unit": [[*PYTEST, "--numprocesses=2", "--dist=worksteal", "tests/unit", "tests/contract"]],
    "redis": [[*PYTEST, "--numprocesses=3", "--dist=worksteal", "tests/redis"]],
    # They wait for a cluster most of the time. One test at a time is handed out, the longest first.
    "api": [
        [*PYTEST, "--numprocesses=2", "--dist=worksteal", "tests/cluster"],
        [*PYTEST, "--numprocesses=4", "--dist=load", "--maxschedchunk=1", "tests/api"],
    ],
    "e2e": [[*PYTEST, "tests/e2e"]],
}
TOGETHER = [["lint", "unit"], ["redis"], ["api", "e2e"]]
TOOLS = [sys.executable, "-m", "cluster", "tools"]
WITHOUT_TOOLS = {"lint"}
COUNTED = re.compile(r"(\d+) (passed|failed|error)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one layer."""

    layer: str
    good: bool
    took_s: float
    counts: Counter[str]


def run(command: list[str], show: Callable[[str], object]) -> tuple[bool, Counter[str]]:
    """Run one command, showing its output; whether it succeeded and what its last line counted."""
    counts: Counter[str] = Counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            show(line)
            if re.search(r" in \d+\.\d+s", line):
                counts = Counter({word: int(number) for number, word in COUNTED.findall(line)})
    return process.returncode == 0, counts


def run_layer(layer: str, show: Callable[[str], object]) -> Verdict:
    """All commands of one layer, also after one that failed."""
    show(f"\n=== {layer} ===\n")
    began_s, good, counts = time.monotonic(), True, Counter[str]()
    for command in LAYERS[layer]:
        done, counted = run(command, show)
        good, counts = good and done, counts + counted
    return Verdict(layer, good, time.monotonic() - began_s, counts)


def run_together(layers: list[str]) -> list[Verdict]:
    """The first one's output comes as it is made, the others' at their end."""
    with ThreadPoolExecutor() as threads:
        kept: dict[str, list[str]] = {layer: [] for layer in layers[1:]}
        others = [threads.submit(run_layer, layer, lines.append) for layer, lines in kept.items()]
        verdicts = [run_layer(layers[0], say)]
        for other, lines in zip(others, kept.values(), strict=True):
            verdicts.append(other.result())
            say("".join(lines))
    return verdicts


def say(text: str) -> None:
    print(text, end="", flush=True)


def main(layers: list[str]) -> int:
    """Exit status: 0 when every layer passed."""
    unknown = [layer for layer in layers if layer not in LAYERS]
    if unknown or not layers:
        print(f"unknown layer {' '.join(unknown)}; choose from {' '.join(LAYERS)}", file=sys.stderr)
        return 2
    ready = not set(layers) - WITHOUT_TOOLS or run(TOOLS, say)[0]
    verdicts = []
    for group in TOGETHER:
        if asked := [layer for layer in group if layer in layers]:
            verdicts += run_together(asked)
    say("\n=== verdict ===\n")
    for verdict in verdicts:
        say(f"{'pass' if verdict.good else 'FAIL'}  {verdict.layer:6} {verdict.took_s:6.0f} s\n")
    total = sum((verdict.counts for verdict in verdicts), Counter[str]())
    print(f"{total['passed']} passed, {total['failed'] + total['error']} failed")
    return 0 if ready and all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
