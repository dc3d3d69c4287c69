"""How does a built image get to the cluster's node?"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from cluster.errors import ClusterError
from cluster.images import IMAGES, Built, Image, build_images
from cluster.kind import has_kind, kind_load
from cluster.node_config import containerd_socket
from cluster.progress import step


def build_and_load(name: str, state: Path, images: Iterable[Image] = IMAGES) -> list[Built]:
    """Build what changed, load it into the cluster's node and say what it has now.

    Raises ClusterError when there is no node or a build fails.
    """
    socket = containerd_socket(state)
    if not has_kind() and not socket.exists():
        raise ClusterError(f"{name} is not a node: run `python3 -m cluster up --name {name}` first")
    built = build_images(images)
    if has_kind():
        kind_load(name, built)
    else:
        load_images(socket, built)
    return built


def load_images(socket: Path, images: Iterable[Built]) -> None:
    """Put the images into the node's containerd under their digest tag and as `:dev`; what is there stays."""
    present = _listed(socket, "images")
    for image in images:
        if image.reference not in present:
            with step(f"load {image.name}"):
                import_archive(socket, image.archive)
        _ctr(socket, "images", "tag", "--force", image.reference, f"docker.io/library/{image.name}:dev")


def forget_images(socket: Path) -> None:
    """Remove the versions that are not kept as archives any more; only while no workload can ask for them."""
    for reference in _listed(socket, "images"):
        name, _, tag = reference.removeprefix("docker.io/library/").partition(":")
        if name.startswith("agentpool-") and tag != "dev" and not Built(name, tag).archive.exists():
            _ctr(socket, "images", "remove", reference)


def forget_containers(socket: Path) -> bool:
    """Remove what a killed node's containers left in the image store; False: nothing. Raises as below.

    containerd has read them at its start: after True it must be started again.
    """
    containers = _listed(socket, "containers")
    if containers:
        _ctr(socket, "containers", "remove", *containers)
    return bool(containers)


def import_archive(socket: Path, archive: Path) -> None:
    """Put an OCI or docker archive into the node's containerd. Raises ClusterError when it cannot."""
    if not archive.exists():
        raise ClusterError(f"{archive} does not exist: run `python3 -m cluster images` first")
    _ctr(socket, "images", "import", str(archive))


def _listed(socket: Path, what: str) -> set[str]:
    return set(_ctr(socket, what, "list", "--quiet").split())


def _ctr(socket: Path, *argv: str) -> str:
    done = subprocess.run(["ctr", "--address", socket, "--namespace", "k8s.io", *argv], capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"ctr {argv[1]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout
