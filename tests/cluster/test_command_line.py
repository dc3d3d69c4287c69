"""What a person sees: one line that says what to do, and never a traceback."""

import subprocess
import sys
from pathlib import Path

from cluster.paths import REPO


def cluster(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cluster", *argv], cwd=REPO, capture_output=True, text=True)


def test_a_cluster_outlives_the_command_that_made_it(state: Path) -> None:
    up = cluster("up", "--kind", "control-plane", "--state", state)
    assert up.returncode == 0, up.stderr
    assert up.stdout.splitlines()[-1] == f"export KUBECONFIG={state}/kubeconfig"
    assert cluster("status", "--state", state).returncode == 0
    assert cluster("kubeconfig", "--state", state).stdout.strip() == f"{state}/kubeconfig"
    assert cluster("down", "--state", state).returncode == 0
    assert cluster("status", "--state", state).returncode == 1
    assert not state.exists()


def test_down_of_what_is_not_up_is_fine(state: Path) -> None:
    assert cluster("down", "--state", state).returncode == 0


def test_credentials_of_a_cluster_that_is_down_are_refused_in_one_line(state: Path) -> None:
    asked = cluster("kubeconfig", "--state", state, "--name", "gone")
    assert asked.returncode == 1
    assert asked.stderr == "error: gone is down: run `python3 -m cluster up --name gone` first\n"


def test_a_name_that_is_a_path_is_refused() -> None:
    asked = cluster("down", "--name", "../other")
    assert asked.returncode == 2
    assert "lower-case letters" in asked.stderr


def test_an_unknown_tool_is_refused_in_one_line() -> None:
    asked = cluster("tool", "no-such-tool")
    assert asked.returncode == 1
    assert asked.stderr == "error: no-such-tool is missing: run `python3 -m cluster tools` first\n"
