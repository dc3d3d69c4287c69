"""What ships: three packages in one wheel, and a folder named operator that never becomes a package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_operator_folder_leaves_the_standard_librarys_name_alone() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=200)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "agentpool_api",
        "agent_runtime",
        "agentpool_operator",
    }


@pytest.mark.parametrize("package", ["agentpool_api", "agent_runtime", "agentpool_operator"])
def test_each_package_imports_from_the_wheel(wheel: Path, package: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(wheel)!r}); import {package}; print({package}.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=wheel.parent, timeout=200
    )
    assert str(wheel) in done.stdout
