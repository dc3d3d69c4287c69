"""Synthetic traffic can be made again, is sized as it says, and costs little to decide on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.decide_cost import kept_bytes
from benchmarks.traffic import BIN_S, PEAK_AGENTS, SCORED_S, SHAPES, make_trace, write_traces


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_and_a_seed_give_one_trace(name):
    (counts, facts), (again, same) = make_trace(name, 1), make_trace(name, 1)
    assert facts == same
    assert (counts == again).all()
    assert len(counts) * BIN_S == facts["eval_to_s"]
    other, _ = make_trace(name, 101)
    assert name == "nothing" or len(other) != len(counts) or (other != counts).any()


def test_the_busiest_minutes_have_work_for_twelve_agents():
    counts, facts = make_trace("weekly", 2)
    minutes = counts[-86_400 // BIN_S :].reshape(-1, 6).sum(1) / 60
    busiest = float(np.percentile(minutes, 99)) * facts["mean_service_s"] / facts["concurrency"]
    assert busiest == pytest.approx(PEAK_AGENTS, rel=0.2)


def test_the_simulator_finds_every_trace_it_is_told_of(tmp_path):
    write_traces(tmp_path, [3], ["cold_hour", "nothing"])
    told = json.loads((tmp_path / "meta.json").read_text())
    assert set(told) == {"cold_hour_3", "nothing_3"}
    assert told["nothing_3"]["eval_to_s"] - told["nothing_3"]["eval_from_s"] == SCORED_S
    assert all((tmp_path / f"{name}.csv.gz").exists() for name in told)


def test_a_pool_with_two_weeks_of_history_takes_little_memory():
    assert kept_bytes(5) < 95_000  # of several, or what the process itself allocates meanwhile would count
