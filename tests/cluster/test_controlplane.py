"""A control plane starts, breaks and ends as a test asks, and does not care what an earlier run left."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import controlplane, processes
from cluster.controlplane import ControlPlane
from cluster.errors import ClusterError
from cluster.paths import REPO
from cluster.ports import free_ports

NAMESPACES = "/api/v1/namespaces"
UP = [sys.executable, "-m", "cluster", "up", "--kind", "control-plane", "--state"]


def namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def wait_until(condition: Callable[[], object], deadline_s: float = 90.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.05)


def test_the_same_folder_serves_twice_and_starts_empty_each_time(state: Path) -> None:
    for _ in range(2):
        with ControlPlane(state, controllers=False) as plane:
            assert plane.api.found(f"{NAMESPACES}/mine") is None
            assert plane.api.call("POST", NAMESPACES, namespace("mine"))[0] == 201
        assert not processes.find(state)
        assert not state.exists()


def test_stopping_what_never_ran_is_fine(state: Path) -> None:
    ControlPlane(state).stop()


def test_only_the_owner_may_read_the_credentials(state: Path) -> None:
    with ControlPlane(state, controllers=False) as plane:
        assert stat.S_IMODE(plane.kubeconfig.stat().st_mode) == 0o600


def test_a_deployment_becomes_ready_on_fake_nodes(state: Path) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "none"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    with ControlPlane(state, fake_nodes=2) as plane:
        assert plane.api.call("POST", deployments, web)[0] == 201
        wait_until(lambda: plane.api.call("GET", f"{deployments}/web")[1]["status"].get("readyReplicas") == 3)


def test_fake_nodes_without_controllers_are_refused(state: Path) -> None:
    with pytest.raises(ClusterError, match="controllers=True"):
        ControlPlane(state, controllers=False, fake_nodes=1)


def test_objects_and_address_outlive_a_restart_of_the_api_server(state: Path) -> None:
    with ControlPlane(state, controllers=False) as plane:
        plane.api.call("POST", NAMESPACES, namespace("kept"))
        url, pid = plane.url, plane.running()["kube-apiserver"]
        plane.restart_apiserver()
        assert plane.api.found(f"{NAMESPACES}/kept")
        assert plane.url == url
        assert plane.running()["kube-apiserver"] not in (pid, None)


def test_a_paused_component_lives_but_does_not_work(state: Path) -> None:
    with ControlPlane(state, controllers=False) as plane:
        plane.pause("kube-apiserver")
        pid = plane.running()["kube-apiserver"]
        assert pid
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        plane.resume("kube-apiserver")
        assert plane.api.found("/readyz")


def test_asking_for_a_component_that_does_not_run_says_so(state: Path) -> None:
    with ControlPlane(state, controllers=False) as plane, pytest.raises(ClusterError, match="kwok is not running"):
        plane.pause("kwok")


def test_two_start_at_the_same_time_and_know_nothing_of_each_other(state: Path) -> None:
    planes = [ControlPlane(state / name, controllers=False) for name in ("one", "two")]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(ControlPlane.start, planes))
        planes[0].api.call("POST", NAMESPACES, namespace("mine"))
        assert planes[1].api.found(f"{NAMESPACES}/mine") is None
        planes[0].stop()
        assert planes[1].is_ready()
    finally:
        for plane in planes:
            plane.stop()


@pytest.mark.parametrize("component", ["etcd", "kube-apiserver"])
def test_an_up_killed_in_the_middle_does_not_trip_the_next(state: Path, component: str) -> None:
    first = subprocess.Popen([*UP, str(state)], cwd=REPO, stdout=subprocess.DEVNULL)
    wait_until(lambda: processes.find_component(state, component))
    first.kill()
    first.wait()
    left = {process.pid for process in processes.find(state)}
    assert left
    with ControlPlane(state, controllers=False) as plane:
        assert plane.is_ready()
        assert not left & {process.pid for process in processes.find(state)}


def test_a_control_plane_whose_etcd_was_killed_is_made_anew_by_up(state: Path) -> None:
    plane = ControlPlane(state, controllers=False)
    plane.start()
    plane.kill("etcd")
    assert not plane.is_ready()
    plane.up()
    assert plane.is_ready()


def test_up_leaves_a_ready_control_plane_as_it_is(state: Path) -> None:
    plane = ControlPlane(state, controllers=False)
    plane.start()
    before = plane.running()
    plane.up()
    assert plane.running() == before


def test_a_port_that_another_process_took_first_is_replaced(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ControlPlane(state / "other", controllers=False) as other:
        choices = iter([other.ports])
        monkeypatch.setattr(controlplane, "free_ports", lambda names: next(choices, None) or free_ports(names))
        with ControlPlane(state / "mine", controllers=False) as plane:
            assert plane.is_ready()
            assert not set(plane.ports.values()) & set(other.ports.values())


def test_ports_that_are_never_free_end_in_one_line(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ControlPlane(state / "other", controllers=False) as other:
        monkeypatch.setattr(controlplane, "free_ports", lambda _: other.ports)
        with pytest.raises(ClusterError, match=r"a port of (etcd|kube-apiserver) is used by another process"):
            ControlPlane(state / "mine", controllers=False).start()
        assert other.is_ready()
    ControlPlane(state / "mine").stop()


def test_a_component_that_gives_up_is_named_with_its_last_words(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.components.SERVICE_NETWORK", "not-a-network")
    with pytest.raises(ClusterError, match=r"kube-apiserver ended: .*log: "):
        ControlPlane(state, controllers=False).start()


def test_a_process_that_got_the_pid_of_one_of_ours_is_left_alone(state: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as stranger:
        stale = processes.Process(stranger.pid, "etcd")
        processes.send(state, [stale], signal.SIGKILL)
        processes.kill(state, [stale])
        assert stranger.poll() is None
        stranger.kill()


def test_a_process_that_is_gone_is_no_error(state: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    processes.kill(state, [processes.Process(gone.pid, "etcd")])


def test_processes_of_another_folder_are_not_found(state: Path) -> None:
    processes.spawn(state, "sleeper", ["sleep", "30"])
    wait_until(lambda: processes.find(state))
    assert not processes.find(state.parent)
    found = processes.find_component(state, "sleeper")
    assert found
    assert os.getsid(found.pid) != os.getsid(0)
    processes.kill_all(state)
    assert not processes.find(state)
