from pathlib import Path

import pytest

from agent_runtime.pod.cgroup import find_cgroup, resident_bytes

NOWHERE = Path("/nonexistent")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


VERSION_1 = {
    "memory__limit_in_bytes": "1000",
    "memory__usage_in_bytes": "700",
    "memory__stat": "total_inactive_file 200",
}
VERSION_2 = {"memory__max": "1000\n", "memory__current": "700\n", "memory__stat": "anon 1\ninactive_file 200\n"}


@pytest.mark.parametrize(("folder", "files"), [("", VERSION_2), ("memory", VERSION_1)])
def test_a_containers_group_is_the_root_of_what_it_sees(tmp_path: Path, folder: str, files: dict[str, str]) -> None:
    write(tmp_path / folder, **files)
    found = find_cgroup(tmp_path, NOWHERE)
    assert found is not None and (found.limit_bytes(), found.used_bytes()) == (1000, 500)


@pytest.mark.parametrize(
    ("folder", "files", "membership"),
    [
        ("own/agent", VERSION_2, "0::/own/agent\n"),
        ("memory/own/agent", VERSION_1, "5:cpu,cpuacct:/other\n4:memory:/own/agent\n0::/\n"),
    ],
)
def test_outside_of_a_container_the_kernel_names_the_group(
    tmp_path: Path, folder: str, files: dict[str, str], membership: str
) -> None:
    write(tmp_path / folder, **files)
    write(tmp_path, memory__max="max")
    write(tmp_path, membership=membership)
    found = find_cgroup(tmp_path, tmp_path / "membership")
    assert found is not None and found.used_bytes() == 500


def test_a_path_of_the_host_leads_nowhere_inside_a_container(tmp_path: Path) -> None:
    write(tmp_path / "memory", **VERSION_1)
    write(tmp_path, membership="4:memory:/kubepods/pod1/container2\nnonsense\n")
    found = find_cgroup(tmp_path, tmp_path / "membership")
    assert found is not None and found.limit_bytes() == 1000


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "", "garbage"])
def test_no_limit_is_no_limit(tmp_path: Path, limit: str) -> None:
    write(tmp_path, memory__max=limit, memory__current="1")
    write(tmp_path / "memory", memory__limit_in_bytes=limit, memory__usage_in_bytes="1")
    assert find_cgroup(tmp_path, NOWHERE) is None


def test_the_process_knows_its_own_size() -> None:
    resident = resident_bytes()
    assert resident is not None and 10**7 < resident < 10**10
