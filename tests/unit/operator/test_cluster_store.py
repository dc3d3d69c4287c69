import pytest

from agentpool_operator.handlers.watches import touched
from agentpool_operator.observe.cluster import ObjectKey, PoolKey, pod_facts
from agentpool_operator.observe.store import Store
from agentpool_operator.observe.sweep import sweep


def body(kind="Deployment", name="d", *, uid="u1", version="5", **metadata):
    return {
        "apiVersion": "v",
        "kind": kind,
        "metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version, **metadata},
    }


def pod(name="p", uid="u1", **status):
    labels = {"agentpool.dev/pool": "a", "agentpool.dev/capacity-type": "spot"}
    return body("Pod", name, uid=uid, labels=labels) | {"status": status}


def test_a_late_event_does_not_undo_what_we_wrote():
    store = Store()
    store.put(body(version="10", labels={"new": "yes"}))
    store.put(body(version="9"))
    assert store.get("Deployment", "n", "d")["metadata"]["labels"] == {"new": "yes"}


def test_another_object_of_the_same_name_is_taken_whatever_its_version():
    store = Store()
    store.put(body(uid="old", version="10"))
    store.put(body(uid="new", version="3"))
    assert store.get("Deployment", "n", "d")["metadata"]["uid"] == "new"


def test_the_end_of_an_old_object_leaves_the_new_one():
    store = Store()
    store.put(body(uid="new"))
    store.remove(body(uid="old"))
    assert store.get("Deployment", "n", "d") is not None
    store.remove(body(uid="new"))
    assert store.get("Deployment", "n", "d") is None


def test_the_end_of_an_old_pod_leaves_the_new_one_of_the_same_name():
    store = Store()
    store.put(pod("old_pod", uid="new"))
    store.remove(pod("old_pod", uid="old"))
    assert [p.uid for p in store.pods_of(PoolKey("n", "a"))] == ["new"]


def test_pods_are_kept_by_pool():
    store = Store()
    store.put(pod("p"))
    store.put(pod("q", uid="u2"))
    assert {p.name for p in store.pods_of(PoolKey("n", "a"))} == {"p", "q"}
    store.remove(pod("p"))
    store.remove(pod("q", uid="u2"))
    assert store.pods == {}


@pytest.mark.parametrize("labels", [{"agentpool.dev/pool": "b"}, {}], ids=["into another", "out of all"])
def test_a_pod_that_somebody_takes_out_of_its_pool_by_a_label_is_in_it_no_more(labels):
    store = Store()
    store.put(pod())
    moved = body("Pod", "p", uid="u1", labels=labels)
    store.put(moved)
    assert store.pods_of(PoolKey("n", "a")) == ()
    assert store.uids("Pod") == ["u1"]
    store.remove(moved)
    assert (store.pods, store.homes) == ({}, {})


def test_a_missed_deletion_is_found_and_a_new_object_is_not_taken_for_one():
    store = Store()
    store.put(pod("gone", uid="gone"))
    store.put(pod("stays", uid="stays"))
    known = store.uids("Pod")
    store.put(pod("new", uid="new"))
    assert store.keep_only("Pod", ["stays"], known) == [PoolKey("n", "a")]
    assert {p.name for p in store.pods_of(PoolKey("n", "a"))} == {"stays", "new"}


def test_managed_fields_are_not_kept():
    store = Store()
    store.put(body(managedFields=[{"big": "x" * 1000}]))
    assert "managedFields" not in store.get("Deployment", "n", "d")["metadata"]


def test_events_ask_for_the_passes_they_matter_to():
    store = Store()
    store.put(body("AgentPool", "a"))
    store.put(body("CostBudget", "b"))
    a, b = ObjectKey("AgentPool", "n", "a"), ObjectKey("CostBudget", "n", "b")
    assert touched(pod(), store) == [a]
    assert set(touched(body("AgentPool", "a"), store)) == {a, b}
    assert set(touched(body("CostBudget", "b"), store)) == {a, b}
    assert touched(body("Pod", "stranger"), store) == []


def test_a_pod_says_what_keeps_it_from_starting():
    facts = pod_facts(
        pod(
            containerStatuses=[
                {"name": "agent-runtime", "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "agent", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}},
            ]
        )
    )
    assert (facts.waiting_container, facts.waiting_reason) == ("agent", "ErrImagePull")
    assert not facts.ready


def test_a_pod_no_node_takes_says_so():
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert pod_facts(pod(conditions=[unscheduled])).unschedulable == "0/3 nodes"


def test_a_pod_without_status_is_neither_ready_nor_started():
    facts = pod_facts(pod())
    assert (facts.ready, facts.started_s, facts.phase) == (False, None, "Pending")


@pytest.mark.parametrize("kind", ["AgentPool", "Deployment"])
def test_an_object_comes_back_as_it_was_and_its_version_tells_of_changes(kind):
    store, key = Store(), ObjectKey(kind, "n", "d")
    assert store.version(key) == ""
    first = body(kind, version="1", labels={"a": "ä"}) | {"spec": {"replicas": 3, "list": [1.5, None, True]}}
    store.put(first)
    seen = store.version(key)
    assert store.get(*key) == first
    store.put(first)
    assert store.version(key) == seen
    store.put(body(kind, version="2"))
    assert store.version(key) not in ("", seen)


class Listing:
    """A client whose lists hold pods, and what the watch shows before their page is read."""

    def __init__(self, store, listed, shown) -> None:
        self._store, self._listed, self._shown = store, listed, shown

    async def list(self, resource, **_):
        for each in self._shown:
            self._store.put(each)
        for each in self._listed:
            yield each


async def test_what_the_watch_has_shown_since_is_newer_than_a_list():
    store = Store()
    ready = [{"type": "Ready", "status": "True"}]
    await sweep(Listing(store, [pod(), pod("q", "u2")], [pod(conditions=ready)]), store, (), {"Pod"})
    assert [(facts.name, facts.ready) for facts in store.pods_of(PoolKey("n", "a"))] == [("p", True), ("q", False)]


@pytest.mark.parametrize("kind", ["Pod", "Service"])
def test_an_object_is_known_by_its_uid(kind):
    store = Store()
    store.put(body(kind, uid="u-1", version="1"))
    assert store.knows(body(kind, uid="u-1", version="7"))
    assert not store.knows(body(kind, uid="u-2"))
    assert not store.knows(body(kind, "other", uid="u-1"))


def test_objects_are_found_by_kind_and_namespace():
    store = Store()
    for kind, namespace, name in [("AgentPool", "n", "a"), ("AgentPool", "m", "a"), ("Service", "n", "a")]:
        there = body(kind, name)
        there["metadata"]["namespace"] = namespace
        store.put(there)
    assert [key.namespace for key in store.keys("AgentPool")] == ["n", "m"]
    assert store.keys("AgentPool", "m") == [ObjectKey("AgentPool", "m", "a")]
    assert [found["kind"] for found in store.of_kind("Service")] == ["Service"]
    assert store.of_kind("Service", "m") == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3}, True, id="all of the newest"),
        pytest.param({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3}, False, id="not looked at yet"),
        pytest.param({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 3}, False, id="under way"),
        pytest.param({}, False, id="nothing known"),
    ],
)
def test_a_deployment_is_rolled_out_when_all_its_pods_are_of_the_newest_template(status, expected):
    store = Store()
    assert not store.is_rolled_out("n", "d")
    store.put(body(generation=2) | {"status": status})
    assert store.is_rolled_out("n", "d") is expected
