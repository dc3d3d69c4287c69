"""How much memory does this container use, and how much may it? Read from cgroups of version 1 and 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

_NO_LIMIT = 2**60
"""Version 1 writes a number near 2^63 for none."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The files of a container's memory controller."""

    limit: Path
    usage: Path
    stat: Path
    reclaimable: str
    """Name in ``stat`` of the file cache the kernel gives up first."""

    def limit_bytes(self) -> int | None:
        """The container's limit; None when it has none."""
        text = _text(self.limit)
        return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None

    def used_bytes(self) -> int | None:
        """The container's working set, as the kubelet counts it; None when it cannot be read."""
        usage = _text(self.usage)
        if not usage.isdigit():
            return None
        for line in _text(self.stat).splitlines():
            name, _, value = line.partition(" ")
            if name == self.reclaimable and value.isdigit():
                return max(int(usage) - int(value), 0)
        return int(usage)


def find_cgroup(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> Cgroup | None:
    """The memory controller with a limit that this process is in, version 2 or 1; None without a limit.

    A container sees its own group at the root. A process started beside others sees all of them, and finds its own by
    the path the kernel names; inside a container that path, where it is the host's, leads nowhere.
    """
    second, first = _own_paths(_text(membership))
    folders = [(root / second, False), (root / "memory" / first, True), (root, False), (root / "memory", True)]
    for folder, version_1 in folders:
        found = _first_version(folder) if version_1 else _second_version(folder)
        if found.limit_bytes() is not None:
            return found
    return None


def resident_bytes() -> int | None:
    """Memory of this process alone; None when it cannot be read."""
    fields = _text(Path("/proc/self/statm")).split()
    return int(fields[1]) * 4096 if len(fields) > 1 else None


def _own_paths(membership: str) -> tuple[str, str]:
    """Paths of this process's group in version 2 and in version 1's memory controller, without the leading slash."""
    second = first = ""
    for line in membership.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            second = path.lstrip("/")
        elif "memory" in controllers.split(","):
            first = path.lstrip("/")
    return second, first


def _second_version(folder: Path) -> Cgroup:
    return Cgroup(folder / "memory.max", folder / "memory.current", folder / "memory.stat", "inactive_file")


def _first_version(folder: Path) -> Cgroup:
    return Cgroup(
        folder / "memory.limit_in_bytes",
        folder / "memory.usage_in_bytes",
        folder / "memory.stat",
        "total_inactive_file",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
