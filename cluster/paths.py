"""Where do the tools, images and clusters of this machine live, and who may change them now?"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def cache_dir() -> Path:
    """Folder outside the repo that is shared by every checkout on the machine."""
    return Path(os.environ.get("AGENTPOOL_CACHE") or Path.home() / ".cache" / "agentpool")


def state_dir(name: str) -> Path:
    """Everything that belongs to the cluster `name`; `down` removes the folder."""
    return cache_dir() / "cluster" / name


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` as an exclusive lock; the kernel gives it back when its owner dies, however that happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run that holds {path}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
