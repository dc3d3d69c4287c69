"""How are the programs of the one real node configured? Pure: folder and ports in, file contents and flags out."""

import json
from collections.abc import Mapping
from pathlib import Path

from cluster.components import SERVICE_NETWORK
from cluster.paths import cache_dir
from cluster.toolchain import tool_path

NODE_NAME = "agentpool"
NODE_ADDRESS = "10.245.0.1"  # on the loopback device: there whatever network the machine is in
POD_NETWORK = "10.244.0.0/24"

# An address of a pod or a Service that is gone fails at once, instead of leaving by the default route to strangers.
DEAD_ENDS = (
    ("unreachable", POD_NETWORK),
    ("local", SERVICE_NETWORK, "dev", "lo", "src", NODE_ADDRESS),
)
NETWORK_NAME = "agentpool"
COMPONENTS = ("containerd", "kubelet", "kube-proxy", "coredns")
PORTS = ("kubelet", "kubelet-health", "kube-proxy-health", "kube-proxy-metrics", "coredns-health", "coredns-ready")


def image_store() -> Path:
    """containerd's root, kept from one cluster to the next: an image that was loaded once is there at once."""
    return cache_dir() / "images" / "containerd"


def containerd_socket(state: Path) -> Path:
    return state / "containerd.sock"


def files(state: Path, ports: Mapping[str, int], pause: str, nameservers: bool) -> dict[str, str]:
    """Content of each configuration file, by its path below `state`.

    `pause`: reference of the image that holds a pod's network; it is imported, never pulled. `nameservers`: the
    machine's resolv.conf names a server to ask about names outside the cluster.
    """
    return {
        "containerd.toml": _containerd(state, pause),
        "cni/10-agentpool.conflist": json.dumps(_network(state), indent=1),
        "kubelet.json": json.dumps(_kubelet(state, ports), indent=1),
        "kube-proxy.json": json.dumps(_kube_proxy(state, ports), indent=1),
        "Corefile": _corefile(state, ports, nameservers),
    }


def commands(state: Path) -> dict[str, list[str | Path]]:
    """Command line of each program, in the order of their start."""
    return {
        "containerd": [tool_path("containerd"), f"--config={state}/containerd.toml"],
        "kubelet": [
            tool_path("kubelet"),
            f"--config={state}/kubelet.json",
            f"--kubeconfig={state}/kubelet.kubeconfig",
            f"--root-dir={state}/kubelet",
            f"--cert-dir={state}/kubelet/pki",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ],
        "kube-proxy": [
            tool_path("kube-proxy"),
            f"--config={state}/kube-proxy.json",
            f"--hostname-override={NODE_NAME}",
        ],
        "coredns": [tool_path("coredns"), "-conf", state / "Corefile"],
    }


def _containerd(state: Path, pause: str) -> str:
    return f"""version = 2
root = "{image_store()}"
state = "{state}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{containerd_socket(state)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # so that every mount of this cluster lies below its own folder
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{state}/runc"
"""


def _network(state: Path) -> dict[str, object]:
    """Routed pairs instead of a bridge: between pods on one bridge, an answer would bypass the service's address."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"{state}/cni-addresses",
    }
    pair = {"type": "ptp", "ipMasq": True, "ipam": addresses}
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": NETWORK_NAME, "plugins": [pair, host_ports]}


def _kubelet(state: Path, ports: Mapping[str, int]) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "port": ports["kubelet"],
        "healthzPort": ports["kubelet-health"],
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": f"{state}/pki/ca.crt"},
        },
        "authorization": {"mode": "AlwaysAllow"},  # of those with a certificate
        "tlsCertFile": f"{state}/pki/kubelet.crt",
        "tlsPrivateKeyFile": f"{state}/pki/kubelet.key",
        "containerRuntimeEndpoint": f"unix://{containerd_socket(state)}",
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "podLogsDir": f"{state}/pod-logs",
        "volumePluginDir": f"{state}/kubelet-plugins",
        "failSwapOn": False,
        # the machine's disk is not ours to judge: no eviction and no image removal because others filled it
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": False,
    }


def _kube_proxy(state: Path, ports: Mapping[str, int]) -> dict[str, object]:
    # zeros leave the kernel's conntrack settings alone; a container may not change them
    conntrack = {
        "maxPerCore": 0,
        "min": 0,
        "tcpEstablishedTimeout": "0s",
        "tcpCloseWaitTimeout": "0s",
        "udpTimeout": "0s",
        "udpStreamTimeout": "0s",
    }
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{state}/kube-proxy.kubeconfig"},
        "mode": "iptables",
        "iptables": {"localhostNodePorts": False},
        "clusterCIDR": POD_NETWORK,
        "healthzBindAddress": f"127.0.0.1:{ports['kube-proxy-health']}",
        "metricsBindAddress": f"127.0.0.1:{ports['kube-proxy-metrics']}",
        "conntrack": conntrack,
    }


def _corefile(state: Path, ports: Mapping[str, int], nameservers: bool) -> str:
    forward = "forward . /etc/resolv.conf" if nameservers else "# no name server on this machine"
    return f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    health 127.0.0.1:{ports["coredns-health"]}
    ready 127.0.0.1:{ports["coredns-ready"]}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {state}/kubeconfig agentpool
        ttl 5
    }}
    {forward}
    cache 5
}}
"""
