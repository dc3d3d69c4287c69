import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.models.backoff import CAP_S, backoff_s, retry_after_s


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_bounded_and_grows_with_chance(attempt: int, chance: float) -> None:
    wait = backoff_s(attempt, None, chance)
    assert wait is not None and 0 <= wait <= CAP_S


@given(st.floats(0, 60), st.floats(0, 1, exclude_max=True))
def test_retry_after_is_a_lower_bound(asked: float, chance: float) -> None:
    wait = backoff_s(0, asked, chance)
    assert wait is not None and wait >= asked


def test_a_very_long_retry_after_is_left_to_the_caller() -> None:
    assert backoff_s(0, 61, 0.5) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("3", 3),
        (" 1.5 ", 1.5),
        ("soon", None),
        ("-3", None),
        ("nan", None),
        ("1e999", None),
        ("9" * 400, 1e9),
        ("Sat, 21 Nov 2026 11:00:10 GMT", 10),
        ("Sat, 21 Nov 2026 10:00:00 GMT", 0),
        ("Sat, 99 Nov 2026 10:00:00 GMT", None),
    ],
)
def test_retry_after_headers(header: str | None, seconds: float | None) -> None:
    eleven = 1795258800.0  # 2026-11-21T11:00:00Z
    assert retry_after_s(header, eleven) == seconds


@given(st.text(max_size=60))
def test_no_header_breaks_the_parser(header: str) -> None:
    found = retry_after_s(header, 0.0)
    assert found is None or found >= 0
