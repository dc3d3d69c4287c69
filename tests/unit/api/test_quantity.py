"""Durations and sizes as people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.quantity import DURATION_PATTERN, SIZE_PATTERN, duration_s, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("0", 0), ("1.5h", 5400), ("2d", 172800)]
)
def test_durations_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("100Mi", 104857600), ("1.5k", 1500), ("42", 42), ("2G", 2_000_000_000), ("1Ti", 2**40)]
)
def test_sizes_in_bytes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "5", "-3s", "3 s", "1y", "s", "1h-5m"])
def test_a_wrong_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like 90s"):
        duration_s(text)


@pytest.mark.parametrize("text", ["", "Mi", "-1", "1 Mi", "1MB", "1e3"])
def test_a_wrong_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="like 100Mi"):
        size_bytes(text)


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_what_the_resource_accepts_the_program_reads_as_a_duration(text: str) -> None:
    assert duration_s(text) >= 0


@given(st.from_regex(SIZE_PATTERN, fullmatch=True))
def test_what_the_resource_accepts_the_program_reads_as_a_size(text: str) -> None:
    assert size_bytes(text) >= 0


def test_the_patterns_hold_in_the_dialect_of_the_api_server() -> None:
    for pattern in (DURATION_PATTERN, SIZE_PATTERN):
        assert not re.search(r"\(\?[=!<]", pattern), "Go's RE2 knows no look-around"
