"""Tools are built once: whole or not at all, by one of two who want them at the same time.

A scripted `go` stands for the compiler, which would take ten minutes.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster import toolchain
from cluster.errors import ClusterError
from cluster.paths import REPO

INSTALL = [sys.executable, "-c", "from cluster.toolchain import install_tools; install_tools()"]
GO = """#!/bin/sh
# writes the program named by the package where go would
for argument; do case "$argument" in -o=*) folder=${argument#-o=};; esac; package=${argument%@*}; done
echo "$package" >> "$CALLS"
target="${folder:-$GOBIN}/${package##*/}"
echo half > "$target"
sleep "${SLEEP_S:-0}"
echo whole > "$target"
"""


@pytest.fixture
def scripted(tmp_path: Path) -> dict[str, str]:
    """Environment with an empty cache folder and the scripted compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "go").write_text(GO)
    (folder / "go").chmod(0o755)
    own = {"AGENTPOOL_CACHE": str(tmp_path / "cache"), "CALLS": str(tmp_path / "calls")}
    return os.environ | own | {"PATH": f"{folder}:{os.environ['PATH']}"}


def programs(environment: dict[str, str]) -> dict[str, str]:
    """Content of each finished program."""
    found = Path(environment["AGENTPOOL_CACHE"]).glob("tools/*/*")
    return {path.name: path.read_text() for path in found if path.is_file()}


def calls(environment: dict[str, str]) -> int:
    return len(Path(environment["CALLS"]).read_text().splitlines())


def test_the_second_run_builds_nothing(scripted: dict[str, str]) -> None:
    for _ in range(2):
        subprocess.run(INSTALL, cwd=REPO, env=scripted, check=True)
    assert set(programs(scripted)) == {tool.name for tool in toolchain.GO_TOOLS}
    assert set(programs(scripted).values()) == {"whole\n"}
    assert calls(scripted) == len(toolchain.GO_TOOLS)


def test_a_build_that_is_killed_leaves_no_half_program_and_is_taken_up_again(scripted: dict[str, str]) -> None:
    with subprocess.Popen(INSTALL, cwd=REPO, env=scripted | {"SLEEP_S": "10"}) as first:
        while not Path(scripted["CALLS"]).exists():
            time.sleep(0.02)
        first.kill()
    assert programs(scripted) == {}
    subprocess.run(INSTALL, cwd=REPO, env=scripted, check=True)
    assert set(programs(scripted).values()) == {"whole\n"}


def test_two_at_the_same_time_build_each_tool_once(scripted: dict[str, str]) -> None:
    runs = [subprocess.Popen(INSTALL, cwd=REPO, env=scripted | {"SLEEP_S": "0.05"}) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert calls(scripted) == len(toolchain.GO_TOOLS)


def test_a_build_that_fails_says_why_in_one_error(scripted: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "go").write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    failed = subprocess.run(
        [sys.executable, "-m", "cluster", "tools"], cwd=REPO, env=scripted, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert failed.stderr == "error: building kube-apiserver failed: no space left\n"


def test_without_root_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "_PACKAGES", {"no-such-program": "some-package"})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="some-package"):
        toolchain.install_tools()


def test_every_kubernetes_module_has_the_version_of_kubernetes() -> None:
    module = (REPO / "cluster" / "tools" / "go.mod").read_text()
    staging = set(re.findall(r"=> k8s\.io/\S+ (v\S+)", module))
    assert staging == {toolchain.kubernetes_version().replace("v1.", "v0.", 1)}
