"""With which flags does each control plane component run? Pure: folders and ports in, command lines out."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path

from cluster.toolchain import tool_path

SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"  # kubernetes.default.svc: the first address of the network

# the default of 20 calls a second makes a start take 5 s instead of 2 s, and a test wait for its Deployment
_UNTHROTTLED = ("--kube-api-qps=1000", "--kube-api-burst=1000")


def control_plane(
    state: Path, ports: Mapping[str, int], host: str, *, service_accounts: bool
) -> dict[str, list[str | Path]]:
    """Command line of each component of the control plane in `state`.

    `service_accounts=False` admits pods without one, as no controller is there to make the default account.
    """
    return {
        "etcd": _etcd(state, ports),
        "kube-apiserver": _apiserver(state, ports, host, service_accounts),
        "kube-controller-manager": _controller_manager(state, ports),
        "kube-scheduler": _scheduler(state, ports),
        "kwok": [
            tool_path("kwok"),
            f"--kubeconfig={state}/kubeconfig",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
        ],
    }


def _etcd(state: Path, ports: Mapping[str, int]) -> list[str | Path]:
    client, peer = (f"http://127.0.0.1:{ports[port]}" for port in ("etcd", "etcd-peer"))
    return [
        tool_path("etcd"),
        f"--data-dir={state}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",  # nothing here outlives the machine
    ]


def _apiserver(state: Path, ports: Mapping[str, int], host: str, service_accounts: bool) -> list[str | Path]:
    pki = state / "pki"
    argv: list[str | Path] = [
        tool_path("kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
        f"--secure-port={ports['kube-apiserver']}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        # for kubectl logs, exec and port-forward
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        # Debian's etcd 3.4 reports no watch progress, which streamed lists need: every client would try one, fail, and
        # wait up to 40 s before it lists and watches again
        "--feature-gates=WatchList=false",
    ]
    if ipaddress.ip_address(host).is_loopback:
        # an Endpoints object may not hold a loopback address
        argv += ["--bind-address=127.0.0.1", f"--advertise-address={host}", "--endpoint-reconciler-type=none"]
    else:
        argv += ["--bind-address=0.0.0.0", f"--advertise-address={host}"]
    if not service_accounts:
        argv += ["--disable-admission-plugins=ServiceAccount"]
    return argv


def _controller_manager(state: Path, ports: Mapping[str, int]) -> list[str | Path]:
    pki = state / "pki"
    return [
        tool_path("kube-controller-manager"),
        f"--kubeconfig={state}/kube-controller-manager.kubeconfig",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['kube-controller-manager']}",
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--leader-elect=false",
        *_UNTHROTTLED,
    ]


def _scheduler(state: Path, ports: Mapping[str, int]) -> list[str | Path]:
    return [
        tool_path("kube-scheduler"),
        f"--kubeconfig={state}/kube-scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports['kube-scheduler']}",
        "--leader-elect=false",
        *_UNTHROTTLED,
    ]
