"""How does a test get an API server of its own, with controllers and as many pretended nodes as it wants?

etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the real programs on free loopback ports; kwok
plays the nodes: pods bound to them become Ready at once and run nothing. Any number of control planes run side by side.
"""

import json
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType

from cluster import pki, processes
from cluster.api import Api
from cluster.cleanup import remove_state
from cluster.components import SERVICE_ADDRESS, control_plane
from cluster.errors import ClusterError
from cluster.paths import locked
from cluster.ports import free_ports
from cluster.progress import step
from cluster.readiness import PortTakenError, node_ready, wait_for
from cluster.toolchain import require_tools

_ATTEMPTS = 3  # a free port can be taken by someone else before our program binds it


class ControlPlane:
    """One control plane in the folder `state`, which is made by start() and removed by stop().

    `controllers=False` starts etcd and the API server only. `fake_nodes` is the number of kwok nodes at start.
    `host` is where clients reach the API server; anything but loopback makes it listen on all addresses.
    """

    def __init__(self, state: Path, *, controllers: bool = True, fake_nodes: int = 0, host: str = "127.0.0.1") -> None:
        if fake_nodes and not controllers:
            raise ClusterError("fake nodes need the controllers: leave controllers=True")
        self.state = state.resolve()
        self.host = host
        self._fake_nodes = fake_nodes
        self._components = ["etcd", "kube-apiserver"]
        if controllers:
            self._components += ["kube-controller-manager", "kube-scheduler"]
        if fake_nodes:
            self._components += ["kwok"]

    @property
    def kubeconfig(self) -> Path:
        """Cluster-admin credentials, complete in one file."""
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.ports['kube-apiserver']}"

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.state / "ports.json").read_text())
        return ports

    @property
    def api(self) -> Api:
        return Api(self.host, self.ports["kube-apiserver"], self.pki)

    def __enter__(self) -> "ControlPlane":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self, deadline_s: float = 180.0) -> None:
        """Return when the API server is ready and, with controllers, pods can be created and scheduled.

        Whatever an earlier run left in the folder is ended and removed first. Raises ClusterError with the end of the
        log when a component gives up or the deadline passes.
        """
        require_tools(self._components)
        with self._locked():
            self._start_anew(deadline_s)

    def up(self, deadline_s: float = 180.0) -> None:
        """As start(), but a control plane that is ready is left as it is."""
        require_tools(self._components)
        with self._locked():
            if not self.is_ready():
                self._start_anew(deadline_s)

    def stop(self) -> None:
        """End every process and remove the folder; nothing to do is fine."""
        with self._locked():
            self._clean()

    def running(self) -> dict[str, int | None]:
        """Process id of each component; None: not running."""
        return processes.pids(self.state, self._components)

    def is_ready(self) -> bool:
        return None not in self.running().values() and self.api.found("/readyz") is not None

    def pause(self, component: str) -> None:
        """Freeze a component: its connections stay open and nothing answers."""
        processes.send(self.state, [self._process(component)], signal.SIGSTOP)

    def resume(self, component: str) -> None:
        processes.send(self.state, [self._process(component)], signal.SIGCONT)

    def kill(self, component: str) -> None:
        """End a component without any farewell."""
        processes.kill(self.state, [self._process(component)])

    def start_component(self, component: str, deadline_s: float = 180.0) -> None:
        """Start a killed component again on its old port and wait for the API server to be ready."""
        self._spawn(component)
        self._wait_for("the API server", time.monotonic() + deadline_s, lambda: self.api.found("/readyz"))

    def restart_apiserver(self) -> None:
        """Every watch and connection breaks; addresses, objects and certificates stay."""
        self.kill("kube-apiserver")
        self.start_component("kube-apiserver")

    def add_fake_node(self, name: str, labels: Mapping[str, str] | None = None, pods: int = 1000) -> None:
        """A node with 64 CPU and 512 Gi, played by kwok; raises ClusterError if the API server refuses it."""
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "status": {"allocatable": (size := {"cpu": "64", "memory": "512Gi", "pods": str(pods)}), "capacity": size},
        }
        status, answer = self.api.call("POST", "/api/v1/nodes", node)
        if status not in (201, 409):
            raise ClusterError(f"node {name} was refused: {answer}")

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.state.parent / f".{self.state.name}.lock")

    def _start_anew(self, deadline_s: float) -> None:
        for attempt in range(_ATTEMPTS):
            self._clean()
            try:
                self._start(time.monotonic() + deadline_s)
            except PortTakenError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _clean(self) -> None:
        processes.kill_all(self.state)
        remove_state(self.state)

    def _start(self, until: float) -> None:
        self.state.mkdir(parents=True, mode=0o700)
        ports = free_ports(["etcd", "etcd-peer", "kube-apiserver", "kube-controller-manager", "kube-scheduler"])
        (self.state / "ports.json").write_text(json.dumps(ports))
        self._make_credentials()
        with step("etcd and kube-apiserver"):
            self._spawn("etcd")
            self._spawn("kube-apiserver")
            self._wait_for("the API server", until, lambda: self.api.found("/readyz"))
        others = self._components[2:]
        if not others:
            return
        with step(" and ".join(others)):
            for component in others:
                self._spawn(component)
            for index in range(self._fake_nodes):
                self.add_fake_node(f"fake-{index}")
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            self._wait_for("the default service account", until, lambda: self.api.found(account))
            for index in range(self._fake_nodes):
                self._wait_for(f"node fake-{index}", until, partial(node_ready, self.api, f"fake-{index}"))

    def _make_credentials(self) -> None:
        pki.make_authority(self.pki)
        hosts = (self.host, "127.0.0.1", SERVICE_ADDRESS)
        dns = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        alternatives = (*(f"IP:{h}" for h in dict.fromkeys(hosts)), *(f"DNS:{d}" for d in dns))
        pki.issue(self.pki, "apiserver", "/CN=kube-apiserver", alternatives)
        pki.issue(self.pki, "admin", "/O=system:masters/CN=admin")
        pki.issue(self.pki, "kube-controller-manager", "/CN=system:kube-controller-manager")
        pki.issue(self.pki, "kube-scheduler", "/CN=system:kube-scheduler")
        pki.write_kubeconfig(self.kubeconfig, self.pki, "admin", self.url)
        for user in ("kube-controller-manager", "kube-scheduler"):
            pki.write_kubeconfig(self.state / f"{user}.kubeconfig", self.pki, user, self.url)

    def _spawn(self, component: str) -> None:
        has_controllers = "kube-controller-manager" in self._components
        argv = control_plane(self.state, self.ports, self.host, service_accounts=has_controllers)[component]
        processes.spawn(self.state, component, argv)

    def _process(self, component: str) -> processes.Process:
        process = processes.find_component(self.state, component)
        if process is None:
            raise ClusterError(f"{component} is not running in {self.state}")
        return process

    def _wait_for(self, what: str, until: float, condition: Callable[[], object]) -> None:
        wait_for(self.state, self._components, what, until, condition)
