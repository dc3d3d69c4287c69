"""Where does debian:bookworm-slim come from on a machine that reaches no image registry?

Made of Debian's packages with mmdebstrap, once, and kept as an archive in the cache folder. How this machine reaches
its package sources is mounted while an image is built and is in no image.
"""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

from cluster.errors import ClusterError
from cluster.paths import cache_dir
from cluster.progress import step

BASE_IMAGE = "docker.io/library/debian:bookworm-slim"

_INSIDE = Path("/run/build")  # one mount point; the usual places belong to the image's own packages
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr")
_LEFT_OUT = ("man", "doc", "info", "locale")  # as in the official slim image
_PIP_FILES = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")


def base_archive() -> Path:
    """The base image's root file system as a tar file, made if it is not there (about a minute)."""
    archive = cache_dir() / "images" / "debian-bookworm-slim.tar"
    if not archive.exists():
        with step("debian:bookworm-slim with mmdebstrap"):
            _bootstrap(archive)
    return archive


def build_access(folder: Path) -> list[str]:
    """Build options that let apt and pip work inside a build as they do on this machine.

    `folder` takes the files that are mounted; the build arguments only say where they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(_sources(), folder / "sources.list.d", dirs_exist_ok=True)
    if _AUTHORITIES.exists():
        shutil.copy(_AUTHORITIES, folder / "authorities.crt")
    (folder / "apt.conf").write_text(_apt_configuration())
    (folder / "pip.conf").write_text(pip_configuration())
    wheels = (f"--volume={place}:{_wheels_inside(place)}:ro" for place in _local_wheels())
    return [
        f"--volume={folder}:{_INSIDE}:ro",
        *wheels,
        f"--build-arg=APT_CONFIG={_INSIDE}/apt.conf",
        f"--build-arg=PIP_CONFIG_FILE={_INSIDE}/pip.conf",
    ]


def _sources() -> Path:
    return cache_dir() / "images" / "sources.list.d"


def _bootstrap(archive: Path) -> None:
    unfinished = archive.with_suffix(".unfinished.tar")
    archive.parent.mkdir(parents=True, exist_ok=True)
    _sources().mkdir(exist_ok=True)
    # the machine's own sources, name and name server stay with the machine
    keep_aside = f'cp "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list {_sources()} || true'
    remove = 'rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/* "$1"/etc/resolv.conf "$1"/etc/hostname'
    done = subprocess.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--include=usr-is-merged",  # else the package that merges /usr brings all of Perl, 47 MB
            f"--hook-dir={_MERGED_USR}",
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT),
            f"--customize-hook={keep_aside}",
            f"--customize-hook={remove}",
            "bookworm",
            unfinished,
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ClusterError(f"mmdebstrap failed: {done.stderr.strip()[-500:]}")
    unfinished.rename(archive)


def _pip_settings() -> dict[str, str]:
    """What pip on this machine is told by its files and environment; the environment wins."""
    parser = configparser.RawConfigParser()
    parser.read([Path(name).expanduser() for name in (*_PIP_FILES, os.environ.get("PIP_CONFIG_FILE", "/dev/null"))])
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            settings |= dict(parser.items(section))
    told = {key: value for key, value in os.environ.items() if key.startswith("PIP_") and key != "PIP_CONFIG_FILE"}
    return settings | {key[4:].lower().replace("_", "-"): value for key, value in told.items()}


def pip_configuration() -> str:
    settings = _pip_settings()
    settings["find-links"] = " ".join(_wheels_inside(place) for place in _local_wheels())
    if _AUTHORITIES.exists():
        settings["cert"] = f"{_INSIDE}/authorities.crt"
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in settings.items() if value)]) + "\n"


def _apt_configuration() -> str:
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in dump.splitlines() if line.startswith("Acquire::")]
    lines.append(f'Dir::Etc::sourceparts "{_INSIDE}/sources.list.d";')
    if _AUTHORITIES.exists():
        lines.append(f'Acquire::https::CAInfo "{_INSIDE}/authorities.crt";')
    return "\n".join(lines) + "\n"


def _local_wheels() -> list[Path]:
    """Folders of wheels that pip is told to look into."""
    places = _pip_settings().get("find-links", "").split()
    return [Path(place) for place in places if Path(place).is_dir()]


def _wheels_inside(place: Path) -> str:
    return f"{_INSIDE}-wheels/{place.name}"
