"""Real control planes in folders of their own; whatever a test leaves is ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.controlplane import ControlPlane


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    ControlPlane(folder).stop()
