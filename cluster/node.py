"""How does this machine become a Kubernetes node, without Docker?

A control plane (see controlplane.py) plus containerd, kubelet, kube-proxy and CoreDNS, as root. A machine can be one
node only: a file in /run says whose it is, and an `up` that finds a dead owner takes away what that one left.
"""

import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster import node_config, pki, processes
from cluster.cleanup import remove_node
from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.images import Built, build_pause
from cluster.load import forget_containers, forget_images, load_images
from cluster.node_config import DEAD_ENDS, NODE_ADDRESS, NODE_NAME
from cluster.paths import locked
from cluster.ports import free_ports, is_free
from cluster.progress import step
from cluster.readiness import node_ready, wait_for
from cluster.toolchain import require_tools

_OWNER = Path("/run/agentpool-node.json")
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Node:
    """The node whose files are in the folder `state`."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self.plane = ControlPlane(self.state, host=NODE_ADDRESS)

    @property
    def kubeconfig(self) -> Path:
        return self.plane.kubeconfig

    @property
    def _socket(self) -> Path:
        return node_config.containerd_socket(self.state)

    def up(self, deadline_s: float = 300.0) -> None:
        """Return when pods can run and names resolve; a node that is up already is left as it is.

        Raises ClusterError when another node cluster is up on this machine, or a component gives up.
        """
        if os.geteuid():
            raise ClusterError("a node needs root: run it as root, or install Docker and kind")
        require_tools(["etcd", "kube-apiserver", "kubelet", "containerd", "runc", "/usr/lib/cni/ptp", "coredns"])
        with locked(_OWNER.with_suffix(".lock")):
            if self.is_ready():
                return
            self._take_machine()
            pause = build_pause()
            self.plane.start()
            self._start(pause, time.monotonic() + deadline_s)

    def down(self) -> None:
        """Remove everything; nothing to do is fine."""
        with locked(_OWNER.with_suffix(".lock")):
            if owns_machine(self.state):
                _release_machine()
        self.plane.stop()

    def running(self) -> dict[str, int | None]:
        """Process id of each component; None: not running."""
        return self.plane.running() | processes.pids(self.state, node_config.COMPONENTS)

    def is_ready(self) -> bool:
        if None in self.running().values():
            return False
        return self.plane.is_ready() and node_ready(self.plane.api, NODE_NAME) and self._dns_ready()

    def _take_machine(self) -> None:
        if owner := _owner():
            if owner != self.state and processes.find(owner):
                raise ClusterError(
                    f"this machine is the node of {owner.name}: `cluster down --name {owner.name}` first"
                )
            with step("remove what an earlier run left"):
                _release_machine()
        if (pid := _foreign_kubelet()) is not None:
            raise ClusterError(f"another Kubernetes node runs on this machine (kubelet, pid {pid}): stop it first")
        _write_owner(self.state)
        _FORWARDING.write_text("1")
        subprocess.run(["ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", "lo"], check=True)
        for route in DEAD_ENDS:
            subprocess.run(["ip", "route", "replace", *route], check=True)
        if not is_free(53, NODE_ADDRESS):
            raise ClusterError("port 53 is used on all addresses: `ss -lnp sport = 53` tells by whom; stop it")

    def _start(self, pause: Built, until: float) -> None:
        self._configure(pause.reference)
        commands = node_config.commands(self.state)
        with step("containerd"):
            if self._start_containerd(commands["containerd"], until):
                self.plane.kill("containerd")
                self._start_containerd(commands["containerd"], until)
        forget_images(self._socket)
        load_images(self._socket, [pause])
        with step("kubelet, kube-proxy and CoreDNS"):
            for component in node_config.COMPONENTS[1:]:
                processes.spawn(self.state, component, commands[component])
            self._wait_for("the node", until, lambda: node_ready(self.plane.api, NODE_NAME))
            self._wait_for("CoreDNS", until, self._dns_ready)

    def _configure(self, pause: str) -> None:
        ports = free_ports(node_config.PORTS)
        (self.state / "node-ports.json").write_text(json.dumps(ports))
        for path, content in node_config.files(self.state, ports, pause, _has_nameserver()).items():
            target = self.state / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(content)
        keys = self.plane.pki
        names = (f"IP:{NODE_ADDRESS}", f"DNS:{NODE_NAME}")
        pki.issue(keys, "kubelet", f"/O=system:nodes/CN=system:node:{NODE_NAME}", names)
        pki.issue(keys, "kube-proxy", "/CN=system:kube-proxy")
        for user in ("kubelet", "kube-proxy"):
            pki.write_kubeconfig(self.state / f"{user}.kubeconfig", keys, user, self.plane.url)

    def _start_containerd(self, argv: Sequence[str | Path], until: float) -> bool:
        """True: it came up with containers of a killed node, which are removed now."""
        processes.spawn(self.state, "containerd", argv)
        forgotten: list[bool] = []

        def answers() -> bool:
            try:
                forgotten.append(forget_containers(self._socket))
            except ClusterError:  # not yet
                return False
            return True

        self._wait_for("containerd", until, answers)
        return forgotten[-1]

    def _dns_ready(self) -> bool:
        """CoreDNS has the cluster's services and answers."""
        port = json.loads((self.state / "node-ports.json").read_text())["coredns-ready"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _wait_for(self, what: str, until: float, condition: Callable[[], object]) -> None:
        wait_for(self.state, [*self.plane.running(), *node_config.COMPONENTS], what, until, condition)


def owns_machine(state: Path) -> bool:
    return _owner() == state.resolve()


def _owner() -> Path | None:
    """State folder of the cluster whose node this machine is or was when it was killed."""
    return Path(json.loads(_OWNER.read_text())["state"]) if _OWNER.exists() else None


def _write_owner(state: Path) -> None:
    unfinished = _OWNER.with_suffix(".unfinished")
    unfinished.write_text(json.dumps({"state": str(state), "ip_forward": _FORWARDING.read_text().strip()}))
    unfinished.rename(_OWNER)


def _release_machine() -> None:
    record = json.loads(_OWNER.read_text())
    remove_node(Path(record["state"]))
    _FORWARDING.write_text(record["ip_forward"])
    _OWNER.unlink()


def _foreign_kubelet() -> int | None:
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:  # empty for a process that has ended and waits for its parent
            program = Path(command.read_text().split("\0")[0]).name
        except (OSError, UnicodeDecodeError):
            continue
        if program in ("kubelet", "k3s-server", "k0s"):
            return int(command.parent.name)
    return None


def _has_nameserver() -> bool:
    resolv = Path("/etc/resolv.conf")
    return resolv.exists() and any(line.startswith("nameserver") for line in resolv.read_text().splitlines())
