"""An image's tag stands for what is in it, and how this machine reaches its packages is not."""

from pathlib import Path

import pytest

from cluster import base_image, images

IMAGE = images.Image("web", ("web/Dockerfile", "source"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTPOOL_CACHE", str(tmp_path / "cache"))
    repo = tmp_path / "repo"
    monkeypatch.setattr(images, "REPO", repo)
    for name, text in (("web/Dockerfile", "FROM scratch"), ("source/main.py", "pass"), ("other.py", "")):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    return repo


def test_the_tag_stays_when_nothing_in_the_image_changes(tree: Path) -> None:
    before = images.take_inputs(IMAGE)
    (tree / "other.py").write_text("changed")
    (tree / "source" / "__pycache__").mkdir()
    (tree / "source" / "__pycache__" / "main.pyc").touch()
    (tree / "source" / "main.py").touch()
    assert images.take_inputs(IMAGE) == before


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("source/main.py", "exit", id="content of the same length"),
        pytest.param("source/new.py", "", id="new file"),
        pytest.param("web/Dockerfile", "FROM debian", id="Dockerfile"),
    ],
)
def test_the_tag_changes_with_each_input(tree: Path, path: str, text: str) -> None:
    before = images.take_inputs(IMAGE)
    (tree / path).write_text(text)
    assert images.take_inputs(IMAGE).tag != before.tag


def test_the_build_sees_the_inputs_and_nothing_else(tree: Path, tmp_path: Path) -> None:
    images.take_inputs(IMAGE)
    context = tmp_path / "cache" / "images" / "context"
    assert sorted(str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()) == [
        "source/main.py",
        "web/Dockerfile",
    ]


def test_pip_in_a_build_is_told_what_pip_here_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    told = tmp_path / "pip.conf"
    told.write_text("[global]\ntimeout = 5\nindex-url = https://index.invalid/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(told))
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} {tmp_path}/missing")
    lines = base_image.pip_configuration().splitlines()
    assert "timeout = 7" in lines
    assert "index-url = https://index.invalid/simple" in lines
    assert "find-links = /run/build-wheels/wheels" in lines
