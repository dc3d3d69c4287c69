"""The table says what a rule cost and who waited, to the last column."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.decide.split import AgentPrices, SpotPolicy
from agentpool_operator.plan.outcome import Outcome
from agentpool_operator.plan.report import Row, cost_nanousd, duration, heading, row, table
from tests.unit.operator.plan.make import tasks_at, terms


def outcome(held_s):
    return Outcome(
        rule="Forecast (this pool)",
        wait_s=np.array([0.0, 0.0, 3.0, 1.0]),
        ended=4,
        cut=frozenset({0}),
        in_service=0,
        waiting=0,
        held_s=held_s,
        scale_events=2,
        agents_by_s=array("l"),
        waiting_by_s=array("l"),
    )


def test_cost_is_exact_at_the_prices_of_both_capacity_types():
    prices = AgentPrices(on_demand_nanousd=500_000_000, spot_nanousd=150_000_000)
    # 10 agents: 3 on demand and 7 on spot, 2.55 USD an hour; 1 agent: on demand, 0.50 USD an hour.
    assert cost_nanousd(outcome({10: 1800.0, 1: 7200.0}), SpotPolicy(), prices) == 1_275_000_000 + 1_000_000_000


def test_a_row_counts_late_and_cut_tasks_once():
    figures = row(outcome({2: 3600.0}), ScalingPolicy(target_wait_s=2.0))
    assert figures.late_share == 0.5
    assert (figures.agent_hours, figures.cut, figures.scale_events) == (2.0, 1, 2)


def test_the_table_lines_up():
    rows = [
        Row(
            rule="Forecast (this pool)",
            agent_hours=1234.567,
            cost_nanousd=432_100_000_000,
            late_share=0.00814,
            p99_wait_s=1.94,
            scale_events=1200,
            cut=0,
        ),
        Row(
            rule="Threshold",
            agent_hours=3.0,
            cost_nanousd=0,
            late_share=1.0,
            p99_wait_s=120.0,
            scale_events=0,
            cut=7,
        ),
    ]
    assert table(rows, target_wait_s=2.0).splitlines() == [
        "rule                  agent hours  cost USD  late %  p99 wait s  scale events  cut",
        "Forecast (this pool)     1,234.57    432.10    0.81         1.9         1,200    0",
        "Threshold                    3.00      0.00  100.00       120.0             0    7",
        "late: waited over 2 s, or cut when its agent had to go",
    ]


def test_the_heading_says_when_the_maximum_is_too_small():
    tasks = tasks_at(*[(float(at), 60.0) for at in range(60)], duration_s=120)
    small, large = (heading("mine", "traffic.csv", tasks, ScalingPolicy(), terms(max_agents=most)) for most in (20, 40))
    assert small.splitlines()[:2] == [
        "mine: 1 to 20 agents of 1 task, 45 s to start, 0.50 USD an hour on demand, 0.15 on spot",
        "traffic.csv: 60 tasks of 60.0 s on average in 2 minutes",
    ]
    assert "above maxAgents 20" in small
    assert "maxAgents" not in large


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 seconds"), (1080, "18 minutes"), (9000, "2.5 hours"), (604800, "7 days")],
)
def test_durations_are_told_in_their_unit(seconds, text):
    assert duration(seconds) == text
