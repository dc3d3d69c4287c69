"""What a killed node leaves is found and taken away, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.cleanup import is_ours
from cluster.paths import REPO

OWN_MOUNTS = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))]


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        pytest.param(":KUBE-SERVICES - [0:0]", True, id="chain of kube-proxy"),
        pytest.param("-A KUBE-FORWARD -j ACCEPT", True, id="rule in it"),
        pytest.param("-A PREROUTING -m comment --comment x -j KUBE-SERVICES", True, id="jump to it"),
        pytest.param(":CNI-HOSTPORT-DNAT - [0:0]", True, id="chain of the pod network"),
        pytest.param("-A POSTROUTING -s 10.244.0.2/32 -j CNI-0a1b", True, id="jump to that"),
        pytest.param(":PREROUTING ACCEPT [0:0]", False, id="built-in chain"),
        pytest.param("-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE", False, id="someone's masquerade"),
        pytest.param(":DOCKER - [0:0]", False, id="someone's chain"),
        pytest.param("*nat", False, id="table"),
        pytest.param("COMMIT", False, id="commit"),
    ],
)
def test_only_lines_of_kubernetes_and_its_pod_network_leave_the_packet_filter(line: str, ours: bool) -> None:
    assert is_ours(line) is ours


def test_mounts_on_each_other_are_undone_before_the_folder_goes(tmp_path: Path) -> None:
    """A bind mount inside the folder must not take the data behind it along."""
    data, state = tmp_path / "data", tmp_path / "state with space"
    script = f"""
import subprocess
from pathlib import Path
from cluster.cleanup import remove_state
state, data = Path({str(state)!r}), Path({str(data)!r})
(state / "volume").mkdir(parents=True), data.mkdir()
(data / "precious").touch()
for mount in (["-t", "tmpfs", "tmpfs", state / "volume"], ["--bind", data, state / "volume"]):
    subprocess.run(["mount", *mount], check=True)
remove_state(state)
assert not state.exists()
assert (data / "precious").exists()
"""
    subprocess.run([*OWN_MOUNTS, sys.executable, "-c", script], cwd=REPO, check=True)
