from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.cache.purges import Purges


def test_a_purge_covers_its_tenant_and_model_only() -> None:
    purges = Purges()
    purges.add("one m", 10)
    purges.add("two", 20)
    assert [purges.cut_s(*scope) for scope in (("one", "m"), ("one", "n"), ("two", "m"), ("three", "m"))] == [
        10,
        0,
        20,
        0,
    ]


def test_an_older_purge_that_arrives_late_changes_nothing() -> None:
    purges = Purges()
    purges.merge({"one": "20.5"})
    purges.merge({"one": "10", "two": "garbage"})
    assert (purges.cut_s("one", "m"), purges.cut_s("two", "m")) == (20.5, 0)


@given(st.lists(st.tuples(st.sampled_from(["t", "t m"]), st.floats(0, 100)), max_size=8))
def test_the_order_of_announcements_does_not_matter(purges: list[tuple[str, float]]) -> None:
    there, back = Purges(), Purges()
    for scope, moment in purges:
        there.add(scope, moment)
    for scope, moment in reversed(purges):
        back.add(scope, moment)
    assert there.cut_s("t", "m") == back.cut_s("t", "m")
