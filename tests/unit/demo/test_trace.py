"""The requests of the demo are the trace's: as many, when they came, as long as they were."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.trace import CHARACTERS_PER_TOKEN, Bin, plan_requests, read_trace

TRACE = Path(__file__).parents[3] / "examples" / "trace" / "azure-llm-conversations-2023.csv"


def test_the_shipped_slice_is_eighteen_minutes_of_a_busy_hour() -> None:
    bins = read_trace(TRACE)
    assert bins[-1].at_s == 1070
    assert sum(bin_.count for bin_ in bins) == 5291


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "trace.csv"
    broken.write_text("t_s,count,prompt_mean,prompt_p95,completion_mean,completion_p95\n0,13,497,1314,83,161\n10,x\n")
    with pytest.raises(ValueError, match="line 3"):
        read_trace(broken)


def test_all_requests_are_sent_when_the_share_is_one() -> None:
    requests = plan_requests(read_trace(TRACE), speed=1, share=1, repeated=0)
    assert len(requests) == 5291
    first_ten_seconds = [request for request in requests if request.at_s < 10]
    assert len(first_ten_seconds) == 13


def test_lengths_have_the_traces_mean() -> None:
    bins = read_trace(TRACE)
    requests = plan_requests(bins, speed=6, share=1, repeated=0)
    wanted = sum(bin_.prompt_mean * bin_.count for bin_ in bins) / sum(bin_.count for bin_ in bins)
    assert mean(request.prompt_tokens for request in requests) == pytest.approx(wanted, rel=0.15)
    wanted = sum(bin_.completion_mean * bin_.count for bin_ in bins) / sum(bin_.count for bin_ in bins)
    assert mean(request.completion_tokens for request in requests) == pytest.approx(wanted, rel=0.15)


def test_the_same_seed_gives_the_same_requests() -> None:
    bins = read_trace(TRACE)
    assert plan_requests(bins, speed=6, share=0.5, repeated=0.2) == plan_requests(
        bins, speed=6, share=0.5, repeated=0.2
    )


def test_a_repeated_question_is_the_same_question_with_the_same_length() -> None:
    requests = plan_requests(read_trace(TRACE), speed=6, share=0.5, repeated=0.2)
    first = {}
    repeats = 0
    for request in requests:
        before = first.setdefault(request.question, request)
        repeats += before is not request
        assert (before.prompt, before.completion_tokens) == (request.prompt, request.completion_tokens)
    assert repeats / len(requests) == pytest.approx(0.2, abs=0.02)


def test_without_repetition_no_two_prompts_are_equal() -> None:
    requests = plan_requests(read_trace(TRACE)[:20], speed=6, share=1, repeated=0)
    assert len({request.prompt for request in requests}) == len(requests)


@given(
    count=st.integers(0, 50),
    mean_tokens=st.floats(1, 5000),
    p95=st.floats(0, 20000),
    speed=st.floats(0.5, 20),
    share=st.floats(0, 1),
)
def test_any_bin_gives_ordered_requests_of_positive_length(
    count: int, mean_tokens: float, p95: float, speed: float, share: float
) -> None:
    bins = [Bin(0, count, mean_tokens, p95, mean_tokens, p95), Bin(10, count, mean_tokens, p95, mean_tokens, p95)]
    requests = plan_requests(bins, speed=speed, share=share, repeated=0.3)
    times = [request.at_s for request in requests]
    assert times == sorted(times)
    assert all(0 <= at_s <= 20 / speed for at_s in times)
    for request in requests:
        assert request.prompt_tokens >= 1
        assert request.completion_tokens >= 1
        assert len(request.prompt) >= request.prompt_tokens * CHARACTERS_PER_TOKEN
