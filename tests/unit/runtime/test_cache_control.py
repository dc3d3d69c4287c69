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
    ],
)
def test_only_answers_the_caller_accepts_are_served(
    control: CacheControl, age_s: float, left_s: float, accepted: bool
) -> None:
    assert control.accepts(age_s, left_s) is accepted
