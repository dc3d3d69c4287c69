"""The command prints a plan, repeats it, and refuses bad input in one line without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from agentpool_operator.plan.command import main

ROOT = Path(__file__).parents[4]
POOL = ROOT / "examples" / "agentpool.yaml"
TRACE = ROOT / "examples" / "trace" / "azure-llm-conversations-2023.csv"
TRAFFIC = "t_s,count,service_s\n" + "".join(f"{10 * slot},{4 + slot % 5},3\n" for slot in range(30))


@pytest.fixture
def files(tmp_path):
    """A manifest with changes to its spec, and a trace."""

    def write(spec=(), traffic=TRAFFIC):
        pool = yaml.safe_load(POOL.read_text())
        pool["spec"] |= dict(spec)
        manifest, trace = tmp_path / "pool.yaml", tmp_path / "traffic.csv"
        manifest.write_text(yaml.safe_dump(pool))
        trace.write_text(traffic)
        return ["plan", "-f", str(manifest), "--trace", str(trace)]

    return write


def test_the_examples_give_a_plan_and_a_plot(capsys, tmp_path):
    assert main(["plan", "-f", str(POOL), "--trace", str(TRACE), "--output", str(tmp_path / "new")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("assistants: 2 to 10 agents of 4 tasks")
    assert lines[1].startswith("azure-llm-conversations-2023.csv: 5,291 tasks of 8.6 s on average in 18 minutes")
    table = lines[lines.index("") + 1 :]
    assert [line.split("  ")[0] for line in table[:5]] == [
        "rule",
        "Forecast (this pool)",
        "Threshold",
        "HPA, utilization 80%",
        "KEDA, queue 4 per agent",
    ]
    assert (tmp_path / "new" / "plan.svg").read_text().startswith("<?xml")
    assert (tmp_path / "new" / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_input_gives_the_same_output(capsys, files, tmp_path):
    plans = []
    for _ in range(2):
        assert main([*files(), "--output", str(tmp_path)]) == 0
        plans.append((capsys.readouterr().out, (tmp_path / "plan.svg").read_bytes()))
    assert plans[0] == plans[1]


def test_options_change_the_replay(capsys, files):
    assert main([*files(), "--startup", "2m", "--service-time", "500ms"]) == 0
    heading = capsys.readouterr().out
    assert "120 s to start" in heading
    assert "tasks of 0.5 s on average" in heading


def test_a_pool_that_may_be_empty_is_planned(capsys, files):
    quiet = "t_s,count,service_s\n0,0,\n10,0,\n3600,2,3\n3610,0,\n"
    assert main(files({"minAgents": 0, "warmAgents": 0}, quiet)) == 0
    assert "2 tasks of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param({"minAgents": 11}, "minAgents (2 unless set) is above maxAgents", id="min-above-max"),
        pytest.param({"minAgents": -1}, "spec.minAgents: Input should be greater than or equal to 0", id="negative"),
        pytest.param({"maxAgents": "ten"}, "spec.maxAgents: Input should be a valid integer", id="no-number"),
        pytest.param({"warmAgents": 11}, "warmAgents (3 unless set) is above maxAgents", id="warm-above-max"),
        pytest.param({"warmAgents": "x%"}, "warmAgents is neither a count nor a share", id="no-share"),
        pytest.param({"spot": {"onDemandBase": 11}}, "spot.onDemandBase is above maxAgents", id="base-above-max"),
        pytest.param(
            {"scaling": {"threshold": {"scaleDownPercent": 80}}}, "must be below scaleUpPercent", id="crossed-band"
        ),
        pytest.param({"cost": {"spotPerHour": "cheap"}}, "spec.cost.spotPerHour: ", id="no-price"),
        pytest.param({"maxAgent": 3}, "spec.maxAgent: no such field", id="misspelt"),
        pytest.param({"agent": {"concurency": 3}}, "spec.agent.concurency: no such field", id="misspelt-inside"),
        pytest.param({"scaling": {"policy": "External"}}, "name Forecast or Threshold", id="no-policy"),
        pytest.param({"replicas": 3}, "replicas fixes the size: remove it", id="fixed-size"),
        pytest.param(
            {"scaling": {"schedules": [{"name": "night", "start": "22:00", "end": "06:00", "maxAgents": 1}]}},
            "the bounds of schedule night contradict",
            id="crossed-schedule",
        ),
        pytest.param(
            {"scaling": {"schedules": [{"name": "night", "start": "22:00", "end": "06:00", "maxAgents": 4}]}},
            "the pool has schedules, and t_s tells no time of day",
            id="schedule-without-a-date",
        ),
    ],
)
def test_bad_manifests_are_refused_in_one_line(capsys, files, spec, message):
    assert main(files(spec)) == 2
    said = capsys.readouterr().err
    assert said.startswith("agentpool: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("spec: [", "pool.yaml:1: not YAML", id="no-yaml"),
        pytest.param("kind: CostBudget\n", "holds 0 resources of kind AgentPool", id="another-kind"),
        pytest.param("kind: AgentPool\n---\nkind: AgentPool\n", "holds 2 resources of kind AgentPool", id="two"),
        pytest.param("kind: AgentPool\n", "the AgentPool has no spec", id="no-spec"),
        pytest.param("", "holds 0 resources", id="empty"),
    ],
)
def test_files_that_hold_no_pool_are_refused(capsys, files, tmp_path, text, message):
    arguments = files()
    (tmp_path / "pool.yaml").write_text(text)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--startup", "fast", "write it like 90s"),
        ("--startup", "2h", "longer than an hour"),
        ("--service-time", "0s", "must be over 0"),
    ],
)
def test_bad_options_are_refused(capsys, files, option, value, message):
    with pytest.raises(SystemExit) as stopped:
        main([*files(), option, value])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_named(capsys, files, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert main([*files(), "--output", str(tmp_path / "taken")]) == 2
    assert "name a folder that can be written" in capsys.readouterr().err


def test_a_plan_loads_neither_a_cluster_client_nor_redis():
    code = (
        "import sys; from agentpool_operator.plan.command import main;"
        f"main(['plan', '-f', {str(POOL)!r}, '--trace', {str(TRACE)!r}]);"
        "print({'kopf', 'lightkube', 'redis', 'aiohttp'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
