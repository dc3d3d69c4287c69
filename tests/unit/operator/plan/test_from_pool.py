"""A plan from a cluster: the pool's manifest and recorded traffic, through the user's kubectl."""

from __future__ import annotations

import io
import json
import os
import stat

import numpy as np
import pytest

from agentpool_operator.decide.history import History
from agentpool_operator.plan.command import main
from agentpool_operator.plan.trace import parse_trace
from agentpool_operator.reconcile.memory import Facts
from agentpool_operator.recorded import write_csv

POOL = {
    "apiVersion": "agentpool.dev/v1alpha1",
    "kind": "AgentPool",
    "metadata": {"name": "assistants", "namespace": "team-a"},
    "spec": {"maxAgents": 9, "agent": {"image": "mine:1"}},
}
NOW = 1_800_000_000


def csv_of(arrivals_per_s, **facts):
    out = io.StringIO()
    history = History(NOW + 30, minutes=np.array(arrivals_per_s, np.float16))
    write_csv(history, Facts(uid="u", **facts), out)
    return out.getvalue()


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A kubectl that answers `get` and `exec` with what it is given, and writes down what it was asked."""

    def make(traffic, *, exit_code=0, stderr=""):
        for name, text in (("get", json.dumps(POOL)), ("exec", traffic), ("stderr", stderr)):
            (tmp_path / name).write_text(text)
        script = tmp_path / "kubectl"
        script.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncat {tmp_path}/stderr >&2\n'
            f'[ "$1" = exec ] && code={exit_code}\n'
            f"cat {tmp_path}/$1\nexit ${{code:-0}}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "asked"

    return make


def test_a_pool_is_planned_with_what_was_recorded_of_it(kubectl, capsys):
    asked = kubectl(csv_of([0.5] * 120, service_s=4.0, startup_s=31.5))
    assert main(["plan", "--from-pool", "assistants", "-n", "team-a"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("assistants: 2 to 9 agents of 4 tasks, 31.5 s to start")
    assert told[1].startswith("traffic of assistants: 3,600 tasks of 4.0 s on average in 2 hours")
    get, run = asked.read_text().splitlines()
    assert get == "get agentpools.agentpool.dev assistants --namespace team-a --output yaml"
    assert run == (
        "exec deployment/agentpool-operator --namespace agentpool-system -- "
        "python -m agentpool_operator.recorded team-a assistants"
    )


def test_a_changed_manifest_is_judged_with_the_traffic_of_the_pool(kubectl, capsys, tmp_path):
    asked = kubectl(csv_of([0.5] * 120, service_s=4.0))
    changed = tmp_path / "changed.yaml"
    changed.write_text(json.dumps({**POOL, "spec": {**POOL["spec"], "maxAgents": 3}}))
    assert main(["plan", "--from-pool", "assistants", "-f", str(changed), "--operator", "ops/mine"]) == 0
    assert "2 to 3 agents of 4 tasks, 45 s to start" in capsys.readouterr().out
    assert asked.read_text().startswith("exec deployment/mine --namespace ops")


def test_the_word_of_kubectl_reaches_the_user_in_one_line(kubectl, capsys):
    kubectl("", exit_code=2, stderr="nothing is recorded of pool assistants\ncommand terminated with exit code 2\n")
    assert main(["plan", "--from-pool", "assistants"]) == 2
    assert capsys.readouterr().err == "agentpool: kubectl exec: nothing is recorded of pool assistants\n"


def test_without_kubectl_the_command_says_so(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["plan", "--from-pool", "assistants"]) == 2
    assert "kubectl is not on the PATH" in capsys.readouterr().err


def test_neither_a_trace_nor_a_pool_is_refused_with_what_to_give(capsys):
    assert main(["plan"]) == 2
    assert "--from-pool NAME" in capsys.readouterr().err


def test_recorded_minutes_keep_their_times_and_unknown_ones_are_left_out():
    trace = parse_trace(csv_of([0.5, float("nan"), 2.0], service_s=3.0), "here")
    first = NOW // 60 * 60 - 180
    assert [(slot.at_s, slot.count, slot.service_s) for slot in trace.slots] == [
        (first, 30, 3.0),
        (first + 120, 120, 3.0),
    ]
    assert trace.dated
