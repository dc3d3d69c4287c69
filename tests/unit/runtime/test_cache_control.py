import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.control import PLAIN, CacheControl, parse_cache_control


@pytest.mark.parametrize(
    ("header", "control"),
    [
        ("", PLAIN),
        ("no-cache", CacheControl(no_cache=True)),
        ("No-Store", CacheControl(no_store=True)),
        ("max-age=10, only-if-cached", CacheControl(max_age_s=10, only_if_cached=True)),
        ('max-age="7"', CacheControl(max_age_s=7)),
        ("max-age", CacheControl(max_age_s=0)),
        ("max-age=soon", CacheControl(max_age_s=0)),
        ("max-age=-1", CacheControl(max_age_s=0)),
        ("max-age=5, max-age=9", CacheControl(max_age_s=5)),
        ("min-fresh=3", CacheControl(min_fresh_s=3)),
        ("max-stale=60", CacheControl(max_stale_s=60)),
        ("max-stale", CacheControl(max_stale_s=1e9)),
        ("max-stale=old", CacheControl(max_stale_s=1e9)),
        (
            "stale-while-revalidate=5, stale-if-error=9",
            CacheControl(stale_while_revalidate_s=5, stale_if_error_s=9),
        ),
        ("fancy=1, no-cache", CacheControl(no_cache=True)),
        ('ext="a, no-store", no-cache', CacheControl(no_cache=True)),
    ],
)
def test_directives_are_read(header: str, control: CacheControl) -> None:
    assert parse_cache_control(header) == control


@given(st.text(max_size=200))
def test_no_header_breaks_the_parser(header: str) -> None:
    parse_cache_control(header)


@pytest.mark.parametrize(
    ("control", "age_s", "left_s", "accepted"),
    [
        (PLAIN, 10, 5, True),
        (PLAIN, 10, 0, False),
        (CacheControl(max_age_s=10), 10, 5, True),
        (CacheControl(max_age_s=9), 10, 5, False),
        (CacheControl(max_age_s=0), 0.5, 5, False),
        (CacheControl(min_fresh_s=6), 1, 5, False),
        (CacheControl(max_stale_s=30), 70, -29, True),
        (CacheControl(max_stale_s=30), 70, -30, False),
        (CacheControl(max_stale_s=30, max_age_s=60), 70, -29, False),
    ],
)
def test_only_answers_the_caller_accepts_are_fresh(
    control: CacheControl, age_s: float, left_s: float, accepted: bool
) -> None:
    assert (control.staleness_s(age_s, left_s) == 0) is accepted


@pytest.mark.parametrize(
    ("control", "age_s", "left_s", "staleness_s"),
    [
        (PLAIN, 70, -10, 10),
        (CacheControl(max_age_s=20), 70, 5, 50),
        (CacheControl(max_age_s=20), 70, -60, 60),
        (CacheControl(min_fresh_s=30), 1, 10, 20),
    ],
)
def test_staleness_is_the_longest_time_by_which_an_answer_is_too_old(
    control: CacheControl, age_s: float, left_s: float, staleness_s: float
) -> None:
    assert control.staleness_s(age_s, left_s) == staleness_s
