"""What does a real node leave on its machine, and how is it taken away again?

Works from what is there, not from what an earlier run remembers: the run may have been killed at any moment.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cluster.errors import ClusterError
from cluster.node_config import DEAD_ENDS, NETWORK_NAME, NODE_ADDRESS
from cluster.processes import kill_all

_CGROUPS = Path("/sys/fs/cgroup")
_DEADLINE_S = 20.0
_FIXED_FOLDERS = tuple(
    Path(folder)
    for folder in (
        "/var/lib/cni/results",
        "/var/lib/cni",
        "/var/log/containers",
        "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet",
        "/run/containerd/s",
        "/run/containerd",
    )
)


def remove_node(state: Path) -> None:
    """End the node's processes and containers and undo what they did to the machine; the folder goes last."""
    kill_all(state)
    _kill_containers()
    _unlink_shim_sockets(state)
    unmount_below(state)
    for route in DEAD_ENDS:
        subprocess.run(["ip", "route", "delete", *route], capture_output=True)
    subprocess.run(["ip", "address", "delete", f"{NODE_ADDRESS}/32", "dev", "lo"], capture_output=True)
    for family in ("iptables", "ip6tables"):
        _remove_chains(family)
    _remove_cgroups()
    _remove_files(state)
    remove_state(state)


def remove_state(state: Path) -> None:
    """Remove the folder, never reaching through a mount into someone's data."""
    unmount_below(state)
    shutil.rmtree(state, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """Raises ClusterError when a mount below the folder cannot be undone."""
    for _ in range(3):
        mounts = [mount for mount in _mounts() if mount.is_relative_to(folder)]
        if not mounts:
            return
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
    raise ClusterError(f"{mounts[-1]} cannot be unmounted: run `umount -l {mounts[-1]}` as root")


def _mounts() -> list[Path]:
    """In the order of mounting."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]


def _kill_containers() -> None:
    until = time.monotonic() + _DEADLINE_S
    while pids := list(_container_pids()):
        if time.monotonic() > until:
            raise ClusterError(f"container processes do not end: {pids}")
        for pid in pids:
            _kill_container_process(pid)
        time.sleep(0.02)


def _kill_container_process(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:  # the pid may have been given to another process before it was opened
        if "/kubepods" in Path(f"/proc/{pid}/cgroup").read_text():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return
    finally:
        os.close(pidfd)


def _container_pids() -> Iterator[int]:
    for group in _pod_cgroups():
        try:
            yield from (int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:  # the group is going away
            continue


def _pod_cgroups() -> list[Path]:
    """Children before their parents, on cgroup v1 in every controller."""
    tops = [top for top in (_CGROUPS / "kubepods", *_CGROUPS.glob("*/kubepods")) if top.is_dir()]
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def _remove_cgroups() -> None:
    until = time.monotonic() + _DEADLINE_S
    while groups := _pod_cgroups():
        for group in groups:
            try:
                group.rmdir()
            except OSError as error:  # busy for a moment after its last process
                if time.monotonic() > until:
                    raise ClusterError(f"{group} is still in use: {error.strerror}") from None
        time.sleep(0.02)


def _unlink_shim_sockets(state: Path) -> None:
    """containerd keeps them outside its own folders, whatever it is configured to use."""
    for address in state.glob("containerd/state/io.containerd.runtime.v2.task/*/*/address"):
        Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_chains(family: str) -> None:
    """Load the tables again without the lines of kube-proxy, kubelet and our pod network."""
    if not shutil.which(family):
        return
    saved = subprocess.run([f"{family}-save"], capture_output=True, text=True).stdout
    kept = [line for line in saved.splitlines() if not is_ours(line)]
    if kept != saved.splitlines():
        text = "\n".join(kept) + "\n"
        subprocess.run([f"{family}-restore"], input=text, text=True, capture_output=True, check=True)


def is_ours(line: str) -> bool:
    return line.startswith((":KUBE-", ":CNI-", "-A KUBE-", "-A CNI-")) or " -j KUBE-" in line or " -j CNI-" in line


def _remove_files(state: Path) -> None:
    """The kubelet, containerd and the CNI library write these to fixed places."""
    results = Path("/var/lib/cni/results")
    for result in results.glob(f"{NETWORK_NAME}-*"):
        container = result.name.removeprefix(f"{NETWORK_NAME}-").removesuffix("-eth0")
        (results / f"cni-loopback-{container}-lo").unlink(missing_ok=True)
        result.unlink(missing_ok=True)  # last: its name is how the other is found
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(state):
            link.unlink()
    Path("/var/lib/kubelet/device-plugins/kubelet.sock").unlink(missing_ok=True)
    for folder in _FIXED_FOLDERS:
        with suppress(OSError):  # not there, or not empty: then it is someone else's
            folder.rmdir()
