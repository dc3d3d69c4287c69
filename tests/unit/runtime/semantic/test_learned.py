"""The learned cache serves what it may, learns from true calls, and forgets."""

import numpy as np
import pytest

from agent_runtime.semantic.learned import LearnedCache

CHANCE = np.random.default_rng(0)
SUBJECTS = CHANCE.normal(size=(4, 384))


def near(subject: int, distance: float = 0.3) -> np.ndarray:
    """A unit vector about a subject."""
    vector = SUBJECTS[subject] + distance * CHANCE.normal(size=384)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def cache(**changes) -> LearnedCache:
    return LearnedCache(**({"delta": 0.01, "sample_share": 0.0, "max_entries": 1000} | changes))


def ask(held, text="what is it", vector=None, *, scope="s", now_s=0.0, chance=0.5):
    return held.consult(scope, text, near(0) if vector is None else vector, now_s=now_s, chance=chance)


def teach(
    held, answer="A", *, key, text="what is it", vector=None, scope="s", tenant="t", expires_s=100.0, meaning=None
):
    asked = ask(held, text, vector, scope=scope, chance=0.0)
    held.learn(asked, tenant=tenant, key=key, answer=answer, answer_vector=meaning, expires_s=expires_s)


def known(**changes) -> LearnedCache:
    """Subject 0 has been answered twice."""
    held = cache(**changes)
    teach(held, key="first", text="what is it")
    teach(held, key="second", text="tell me what it is")
    return held


def test_an_empty_cache_asks_upstream():
    assert ask(cache()).outcome == "empty"


def test_an_answer_given_twice_serves_the_same_question_in_other_words():
    found = ask(known(), "say what it might be")
    assert (found.outcome, found.key in ("first", "second")) == ("hit", True)
    assert found.risk <= 0.015


def test_an_answer_given_once_serves_only_nearly_the_same_words():
    held = cache()
    vector = near(0, 0.1)
    teach(held, key="first", text="how can i open the door", vector=vector)
    assert ask(held, "how do i open the door", vector).outcome == "hit"
    assert ask(held, "which way does that gate go", vector).outcome == "unconfirmed"


@pytest.mark.parametrize("text", ["what is it not", "what is it in 2024", "what is it in Paris"])
def test_what_differs_in_a_facet_is_asked_upstream(text):
    assert ask(known(), text).outcome.startswith("differs:")


def test_scopes_do_not_answer_each_other():
    assert ask(known(), scope="other").outcome == "empty"


def test_another_subject_is_too_risky():
    assert ask(known(), vector=near(1)).key is None


def test_a_share_of_hits_is_given_up_to_learn():
    held = known(sample_share=0.2)
    assert ask(held, chance=0.19).outcome == "sampled"
    assert ask(held, chance=0.2).outcome == "hit"


def test_answers_of_questions_that_look_alike_but_differ_stop_the_hits():
    """Every question gets an answer of its own, as an agent's loop or a stream of lookups does."""
    held = known()
    for number in range(200):
        teach(held, f"answer {number}", key=str(number), text="what is it")
    assert ask(held).key is None


def test_votes_that_true_calls_prove_wrong_raise_the_risk_of_all():
    chance = np.random.default_rng(3)

    def subject() -> np.ndarray:
        vector = chance.normal(size=384)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def twice_known(held: LearnedCache, name: str) -> np.ndarray:
        vector = subject()
        for number in range(2):
            teach(held, name, key=f"{name}{number}", vector=vector)
        return vector

    held = cache()
    assert ask(held, vector=twice_known(held, "fresh")).outcome == "hit"
    for number in range(60):
        vector = twice_known(held, f"subject {number}")
        teach(held, f"something else {number}", key=f"third {number}", vector=vector)
    assert ask(held, vector=twice_known(held, "fresh again")).outcome == "risky"


def test_an_expired_answer_is_neither_served_nor_kept():
    held = cache()
    for key in ("first", "second"):
        teach(held, key=key, expires_s=10.0)
    assert ask(held, now_s=9.9).key is not None
    assert ask(held, now_s=10.0).outcome == "empty"
    assert (len(held), held.size_bytes) == (0, 0)


def test_the_least_recently_served_question_makes_room():
    held = cache(max_entries=2)
    for number in range(3):
        teach(held, f"A{number}", key=str(number), vector=near(number))
    assert len(held) == 2
    assert ask(held, vector=near(0)).vote.answer != 1


def test_a_forgotten_key_is_gone_and_unknown_keys_are_ignored():
    held = known()
    held.forget("first")
    held.forget("never")
    assert len(held) == 1


def test_answers_in_other_words_count_as_one_when_their_facets_agree():
    held, meaning = cache(), near(3, 0.01)
    teach(held, "It opens at 9.", key="a", meaning=meaning)
    teach(held, "The opening is at 9.", key="b", text="tell me what it is", meaning=meaning)
    assert ask(held, "say it").outcome == "hit"
    other = cache()
    teach(other, "It opens at 9.", key="a", meaning=meaning)
    teach(other, "It opens at 8.", key="b", text="tell me what it is", meaning=meaning)
    assert ask(other, "say it").key is None


def test_dropping_near_a_statement_takes_all_questions_with_these_answers_of_this_tenant_only():
    held = known()
    teach(held, "B", key="elsewhere", vector=near(1))
    teach(held, key="theirs", scope="their scope", tenant="other")
    far_question_same_answer = near(2)
    teach(held, "A", key="third", vector=far_question_same_answer)
    assert sorted(held.drop_near("t", near(0), 0.6)) == ["first", "second", "third"]
    assert len(held) == 2


def test_the_same_questions_and_chances_give_the_same_decisions():
    def run() -> list[str]:
        chance, held, outcomes = np.random.default_rng(5), cache(sample_share=0.1), []
        for number in range(120):
            subject = int(chance.integers(4))
            vector = SUBJECTS[subject] + 0.4 * chance.normal(size=384)
            asked = ask(held, vector=(vector / np.linalg.norm(vector)).astype(np.float32), chance=chance.random())
            outcomes.append(asked.outcome)
            if asked.key is None:
                held.learn(asked, tenant="t", key=str(number), answer=str(subject), answer_vector=None, expires_s=9.0)
        return outcomes

    assert run() == run()
    assert run().count("hit") > 50
