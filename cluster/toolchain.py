"""Which programs does a cluster need, and how do they come to this machine?

Debian's own packages where there are any; the rest is compiled once with Go into the cache folder, from the versions
and checksums that `tools/go.mod` and the table below fix. A killed build goes on where it stopped: Go keeps compiled
packages, and a finished program appears under its name only when it is complete.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError
from cluster.paths import REPO, cache_dir, locked
from cluster.progress import step

_WRAPPER = REPO / "cluster" / "tools"

# program that shows the package is there -> Debian package
_PACKAGES = {
    "etcd": "etcd-server",
    "openssl": "openssl",
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "redis-server": "redis-server",
    "promtool": "prometheus",  # a test checks the chart's rules with it
}


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program built from a Go module; `version` None: the one in tools/go.mod.

    `told` are variables set at link time, with {version}, {major} and {minor} of Kubernetes.
    """

    name: str
    package: str
    version: str | None = None
    told: tuple[str, ...] = ()


def _kubernetes(name: str) -> GoTool:
    told = ("gitVersion={version}", "gitMajor={major}", "gitMinor={minor}")
    variables = tuple(f"k8s.io/component-base/version.{variable}" for variable in told)
    return GoTool(name, f"k8s.io/kubernetes/cmd/{name}", told=variables)


# else `helm template` and `helm lint` think of Kubernetes 1.20
_HELM_RENDERS_FOR = tuple(
    f"helm.sh/helm/v3/pkg/{package}.k8sVersion{part}"
    for package in ("chartutil", "lint/rules")
    for part in ("Major={major}", "Minor={minor}")
)


# in the order of first use: the tests need only the first four
GO_TOOLS = (
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    GoTool("kwok", "sigs.k8s.io/kwok/cmd/kwok", "v0.7.0"),
    _kubernetes("kubectl"),
    GoTool("helm", "helm.sh/helm/v3/cmd/helm", "v3.19.0", told=_HELM_RENDERS_FOR),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    GoTool("coredns", "github.com/coredns/coredns", "v1.12.0"),
)


def tool_path(name: str) -> str:
    """The program's path: ours if it was built, else the machine's. Raises ClusterError when there is none."""
    for tool in GO_TOOLS:
        if tool.name == name and _target(tool).exists():
            return str(_target(tool))
    if found := shutil.which(name):
        return found
    raise ClusterError(f"{name} is missing: run `python3 -m cluster tools` first")


def require_tools(names: Iterable[str]) -> None:
    """Raises ClusterError naming the first program that is missing."""
    for name in (*names, "openssl"):
        tool_path(name)


def install_tools() -> None:
    """Install what is missing; the second call does nothing."""
    with locked(cache_dir() / "tools" / "install.lock"):
        _install_packages()
        for tool in GO_TOOLS:
            if not _target(tool).exists():
                _build(tool)


def kubernetes_version() -> str:
    """As in `v1.34.4`; tools/go.mod has the say."""
    found = re.search(r"^require k8s\.io/kubernetes (v\S+)", (_WRAPPER / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ClusterError(f"{_WRAPPER}/go.mod does not require k8s.io/kubernetes")
    return found[1]


def _target(tool: GoTool) -> Path:
    folder = f"{tool.name}-{tool.version}" if tool.version else f"kubernetes-{kubernetes_version()}"
    return cache_dir() / "tools" / folder / tool.name


def _build(tool: GoTool) -> None:
    if not shutil.which("go"):
        raise ClusterError(f"Go 1.25 or newer is needed once, to build {tool.name}: https://go.dev/dl")
    target = _target(tool)
    unfinished = target.parent / ".unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    flags = ["-trimpath", f"-ldflags=-s -w {_link_flags(tool)}"]
    if tool.version:
        argv = ["go", "install", *flags, f"{tool.package}@{tool.version}"]
    else:
        argv = ["go", "build", *flags, f"-o={unfinished}/", tool.package]
    with step(f"build {tool.name} {tool.version or kubernetes_version()}"):
        built = subprocess.run(
            argv,
            cwd=_WRAPPER,
            env=os.environ | {"CGO_ENABLED": "0", "GOBIN": str(unfinished), "GOWORK": "off"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if built.returncode:
            raise ClusterError(f"building {tool.name} failed: {built.stderr.strip()[-500:]}")
        (unfinished / tool.name).rename(target)
        unfinished.rmdir()


def _link_flags(tool: GoTool) -> str:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".")
    told = (variable.format(version=version, major=major, minor=minor) for variable in tool.told)
    return " ".join(f"-X {variable}" for variable in told)


def _install_packages() -> None:
    missing = [package for program, package in _PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    if os.geteuid() or not shutil.which("apt-get"):
        raise ClusterError(f"as root on Debian or Ubuntu this installs itself; else install: {' '.join(missing)}")
    with step(f"apt-get install {len(missing)} packages"), _no_services():
        for argv in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            done = subprocess.run(
                ["apt-get", *argv],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise ClusterError(f"apt-get {argv[0]} failed: {done.stderr.strip()[-500:]}")


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian starts a service as soon as its package is installed; ours must not run or take ports."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():  # the administrator has decided already
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
