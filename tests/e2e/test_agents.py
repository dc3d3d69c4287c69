"""A pool from `kubectl apply` to `kubectl delete`, and what its callers get."""

from __future__ import annotations

import time
from itertools import permutations
from typing import Any

import openai
import pytest

from tests.e2e.place import LOADED, Place, ask, eventually, pool


def test_three_agents_are_ready_within_seconds_and_tell_their_story(place: Place) -> None:
    began_s = time.monotonic()
    place.apply(pool(minAgents=3))
    place.wait("agentpool", "assistants", "Ready")
    eventually("three ready agents in the status", lambda: place.get("ap", "assistants")["status"]["readyAgents"] == 3)
    took_s = time.monotonic() - began_s
    print(f"apply to three ready agents: {took_s:.1f} s")
    assert took_s <= 8 * LOADED
    header, row = place("get", "agentpools").splitlines()
    assert header.split()[:7] == ["NAME", "DESIRED", "READY", "ON-DEMAND", "SPOT", "STATUS", "BUDGET"]
    assert row.split()[:6] == ["assistants", "3", "3", "1", "2", "AgentsReady"]
    told = ("Scaled", "Ready is True")  # events follow the status
    eventually("the story", lambda: all(word in place("describe", "agentpool", "assistants") for word in told))


def test_the_schema_explains_itself(place: Place) -> None:
    assert "spot nodes" in place("explain", "agentpool.spec.spot")
    assert "IANA" in place("explain", "costbudget.spec.timeZone")


def test_a_person_may_set_the_size_and_hand_it_back(place: Place) -> None:
    place.apply(pool(minAgents=1))
    place.wait("agentpool", "assistants", "Ready")
    place("scale", "agentpool/assistants", "--replicas=3")
    eventually("three agents", lambda: len(place.pods()) == 3)
    assert place.condition("agentpool", "assistants", "ScalingActive")["reason"] == "ReplicasSet"
    place("patch", "agentpool", "assistants", "--type=json", '--patch=[{"op":"remove","path":"/spec/replicas"}]')
    eventually(
        "the policy in charge",
        lambda: place.condition("agentpool", "assistants", "ScalingActive")["status"] == "True",
    )


def test_callers_get_answers_and_streams_and_repeated_questions_come_from_the_cache(place: Place) -> None:
    place.apply(pool(minAgents=2))
    eventually("two agents", lambda: len(place.pods()) == 2)
    client = place.openai()
    assert ask(client, "hello", tokens=7).split() == ["lorem"] * 7
    stream = client.chat.completions.create(
        model="small-model", max_tokens=40, stream=True, messages=[{"role": "user", "content": "as a stream"}]
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text.split() == ["lorem"] * 40
    question = {"model": "small-model", "max_tokens": 5, "messages": [{"role": "user", "content": "again"}]}
    create: Any = client.chat.completions.with_raw_response.create
    assert create(**question).headers["x-agentpool-cache"] == "miss"
    time.sleep(4)  # an answer goes to the shared cache after its caller has it
    results = {create(**question).headers["x-agentpool-cache"] for _ in range(24)}
    assert results <= {"l1", "l2"}
    assert "l2" in results, "what one agent stored, another serves"
    assert [model.id for model in client.models.list()] == ["small-model"]


def test_a_question_in_other_words_is_found_by_the_pools_own_embeddings_model(place: Place) -> None:
    manifest = pool(minAgents=1, maxAgents=1)
    runtime = manifest["spec"]["runtime"]
    runtime["models"].append({**runtime["models"][0], "name": "small-embed", "kind": "embeddings"})
    runtime["cache"] = {"semantic": {"enabled": True, "embedder": {"model": "small-embed", "timeout": "10s"}}}
    place.apply(manifest)
    place.wait("agentpool", "assistants", "Ready")
    create: Any = place.openai().chat.completions.with_raw_response.create

    def came_from(text: str) -> str:
        messages = [{"role": "user", "content": text}]
        return str(create(model="small-model", messages=messages).headers["x-agentpool-cache"])

    orders = (" ".join(words) for words in permutations(["please", "can", "you", "reset", "my", "password"]))
    eventually("an answer to the same words in another order", lambda: came_from(next(orders)) == "semantic")
    assert came_from("when do the shops in town open") == "miss"


def test_a_wrong_key_an_unknown_model_and_nonsense_are_refused(place: Place) -> None:
    place.apply(pool(minAgents=1))
    place.wait("agentpool", "assistants", "Ready")
    with pytest.raises(openai.AuthenticationError):
        ask(place.openai(key="wrong"), "hello")
    client = place.openai()
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hi"}])
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        create: Any = client.chat.completions.create
        create(model="small-model", messages="none")


def test_deleting_a_pool_removes_all_it_made(place: Place) -> None:
    place.apply(pool(minAgents=2))
    place.wait("agentpool", "assistants", "Ready")
    kinds = "deployments,replicasets,pods,services,configmaps,secrets,poddisruptionbudgets,serviceaccounts"
    selector = ("--selector", "agentpool.dev/pool", "--output", "name")
    assert len(place("get", kinds, *selector).split()) >= 9
    place("delete", "agentpool", "assistants")
    eventually("nothing left", lambda: place("get", kinds, *selector) == "")
