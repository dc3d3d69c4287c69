"""Which images does the project need, and are they built from what is in the tree now?

An image's tag is a digest of its inputs, so an unchanged tree builds nothing. docker builds where its daemon runs;
elsewhere buildah does, from the same Dockerfiles, into storage of its own in the cache folder.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cluster.base_image import BASE_IMAGE, base_archive, build_access
from cluster.errors import ClusterError
from cluster.paths import REPO, cache_dir, locked
from cluster.progress import step

_KEPT_ARCHIVES = 2  # of each image: a look back at an earlier tree need not build again


@dataclass(frozen=True, slots=True)
class Image:
    """`inputs` are files and folders of the repo; the first is the Dockerfile."""

    name: str
    inputs: tuple[str, ...]
    build_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """An image whose `tag` is the digest of its inputs: 12 hexadecimal digits."""

    name: str
    tag: str

    @property
    def reference(self) -> str:
        return f"docker.io/library/{self.name}:{self.tag}"

    @property
    def archive(self) -> Path:
        """Where buildah's result is kept; docker keeps its own."""
        return cache_dir() / "images" / f"{self.name}-{self.tag}.tar"


_RUNTIME = (
    "agent_runtime/Dockerfile",
    "agent_runtime",
    "agentpool_api",
    *(f"requirements/{name}.txt" for name in ("runtime", "semantic", "convert", "encoder")),
)
IMAGES = (
    Image(
        "agentpool-operator",
        ("operator/Dockerfile", "operator/agentpool_operator", "agentpool_api", "requirements/operator.txt"),
    ),
    Image("agentpool-runtime", _RUNTIME),
    Image("agentpool-redis", ("cluster/redis.Dockerfile",)),
)
SEMANTIC = Image("agentpool-semantic", _RUNTIME, build_args=("SEMANTIC=yes",))
"""The runtime with the encoder, for pools whose semantic cache compares by meaning."""
_PAUSE = Image("agentpool-pause", ("cluster/pause/Dockerfile", "cluster/pause/main.go"))


@cache
def has_docker() -> bool:
    """A docker client whose daemon answers."""
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


def build_images(images: Iterable[Image] = IMAGES) -> list[Built]:
    """Build what is not built yet; docker keeps the result itself, buildah's goes to archives in the cache folder."""
    with _building():
        return [_build(image) for image in images]


def build_pause() -> Built:
    """The image that holds a pod's network, for a containerd that reaches no registry."""
    with _building():
        built = take_inputs(_PAUSE)
        if not built.archive.exists():
            with step(f"image {built.name}"):
                _compile_pause()
                _run(
                    [
                        *_buildah("bud"),
                        f"--tag={built.reference}",
                        f"--file={_context() / _PAUSE.inputs[0]}",
                        str(_context()),
                    ]
                )
                _export(built)
        return built


def image_size_bytes(built: Built) -> int:
    """Size of the unpacked layers."""
    if not has_docker():
        return built.archive.stat().st_size
    return int(_run(["docker", "image", "inspect", "--format", "{{.Size}}", built.reference]))


def _building() -> AbstractContextManager[None]:
    return locked(cache_dir() / "images" / "build.lock")


def _build(image: Image) -> Built:
    built = take_inputs(image)
    how = [f"--file={_context() / image.inputs[0]}", *(f"--build-arg={each}" for each in image.build_args)]
    if has_docker():
        if subprocess.run(["docker", "image", "inspect", built.reference], capture_output=True).returncode:
            with step(f"image {image.name}"):
                _run(["docker", "build", f"--tag={built.reference}", *how, str(_context())])
        _run(["docker", "tag", built.reference, f"{image.name}:dev"])
    elif not built.archive.exists():
        _import_base()
        with step(f"image {image.name}"):
            options = ["--isolation=chroot", "--layers", "--pull=false", f"--tag={built.reference}"]
            access = build_access(cache_dir() / "images" / "access")
            _run([*_buildah("bud"), *options, *access, *how, str(_context())])
            _export(built)
    return built


def _context() -> Path:
    return cache_dir() / "images" / "context"


def take_inputs(image: Image) -> Built:
    """Copy the inputs to the build context and name the image after what was copied: the tree may change meanwhile."""
    shutil.rmtree(_context(), ignore_errors=True)
    for name in image.inputs:
        source, target = REPO / name, _context() / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__", "Dockerfile"), dirs_exist_ok=True
            )
        else:
            shutil.copy(source, target)
    digest = hashlib.sha256()
    for path in sorted(path for path in _context().rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(_context())}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return Built(image.name, digest.hexdigest()[:12])


def _import_base() -> None:
    archive = base_archive()
    _run([*_buildah("rm"), "--all"])  # containers of a build that was killed
    if subprocess.run([*_buildah("inspect"), "--type=image", BASE_IMAGE], capture_output=True).returncode == 0:
        return
    container = _run([*_buildah("from"), "scratch"])
    _run([*_buildah("add"), "--quiet", container, str(archive), "/"])
    _run(
        [
            *_buildah("config"),
            "--cmd=bash",
            "--env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            container,
        ]
    )
    _run([*_buildah("commit"), "--quiet", "--rm", container, BASE_IMAGE])


def _compile_pause() -> None:
    folder = _context() / "cluster" / "pause"
    go = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(_context() / "pause"), str(folder / "main.go")]
    _run(go, env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "off"})


def _export(built: Built) -> None:
    """As a docker archive, whose layers are not compressed: it is read on this machine only, and quickly."""
    unfinished = built.archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    _run([*_buildah("push"), built.reference, f"docker-archive:{unfinished}:{built.reference}"])
    unfinished.rename(built.archive)
    archives = sorted(built.archive.parent.glob(f"{built.name}-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in archives[:-_KEPT_ARCHIVES]:
        old.unlink()


def _buildah(command: str) -> list[str]:
    images = cache_dir() / "images"
    return [
        "buildah",
        f"--root={images / 'storage'}",
        f"--runroot={images / 'run'}",
        "--storage-driver=overlay",
        command,
    ]


def _run(argv: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env)
    if done.returncode:
        raise ClusterError(f"`{' '.join(argv[:1] + argv[-1:])}` failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout.strip()
