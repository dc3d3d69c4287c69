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


def test_a_purge_of_one_answer_covers_that_answer_in_every_model() -> None:
    purges = Purges()
    purges.add("answer:k", 10)
    assert (purges.cut_s("t", "m", "k"), purges.cut_s("t", "m", "l"), purges.cut_s("t", "m")) == (10, 0, 0)


def test_news_name_the_answers_unless_any_may_be_meant() -> None:
    purges = Purges()
    purges.merge({"answer:k": "10", "answer:l": "11"})
    assert purges.news.is_set()
    assert purges.take_news() == ["k", "l"]
    assert not purges.news.is_set()
    purges.merge({"answer:k": "12", "t": "12"})
    assert purges.take_news() is None
    assert purges.take_news() == []


def test_purges_that_no_answer_is_old_enough_for_are_forgotten() -> None:
    purges = Purges()
    purges.merge({"answer:k": "10", "t": "20"})
    assert purges.outlived(20) == ["answer:k"]
    assert (purges.cut_s("t", "m", "k"), purges.outlived(20)) == (20, [])
