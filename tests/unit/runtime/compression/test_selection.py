"""Which sentences may be left out, and which never are."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runtime.compression.compress import PROFILES, Policy, compress
from agent_runtime.compression.prompt import Ledger
from agent_runtime.compression.protect import Masked

ASKED = {"role": "user", "content": "And now?"}


def run(*talk: tuple[str, str], profile: str = "Aggressive", **policy: Any) -> list[str]:
    messages = [*({"role": role, "content": text} for role, text in talk), ASKED]
    result = compress(
        {"messages": messages}, Policy(profile=PROFILES[profile], **policy), lambda text: len(text.split())
    )
    return [message["content"] for message in result.messages[:-1]]


FILLER = (
    "assistant",
    "Weather stays sunny near coast. Boats leave harbour every morning. Weather stays sunny, boats leave.",
)


def test_what_the_rest_says_too_goes() -> None:
    said = ("assistant", "Boats leave harbour when sunny. Grandmother enjoys chocolate cake enormously.")
    assert run(said, FILLER)[0] == "Grandmother enjoys chocolate cake enormously."


@pytest.mark.parametrize("word", ["not", "never", "must", "if", "only", "don't", "unless", "already"])
def test_a_sentence_that_binds_is_never_left_out(word: str) -> None:
    said = ("assistant", f"Boats leave harbour {word} sunny. Grandmother enjoys chocolate cake enormously.")
    assert f"Boats leave harbour {word} sunny." in run(said, FILLER)[0]


def test_what_a_user_says_is_never_left_out_because_others_use_its_words() -> None:
    said = "Boats leave harbour when sunny. Grandmother enjoys chocolate cake enormously."
    assert run(("user", said), FILLER)[0] == said


@pytest.mark.parametrize(
    "done", ["Harbour boats booked.", "Sunny weather has been confirmed.", "Your boats were moved."]
)
def test_what_was_done_is_never_left_out(done: str) -> None:
    told = ("assistant", f"{done} Grandmother enjoys chocolate cake enormously.")
    assert len(run(told, FILLER, FILLER)[0].split(".")) == 3


def test_a_line_that_heads_others_stays() -> None:
    told = (
        "assistant",
        "Sunny weather:\nMarguerite Duras\nSimone Weil\n\nGrandmother enjoys chocolate cake enormously.",
    )
    assert run(told, FILLER)[0].startswith("Sunny weather:\nMarguerite")


def test_facts_in_another_order_are_not_the_same() -> None:
    again = ("assistant", "Malmö ferry from Oslo leaves harbour to Turku at night. Grandfather sleeps.")
    same = ("assistant", "Ferry from Oslo leaves harbour to Turku. Grandmother enjoys chocolate cake enormously.")
    swapped = ("assistant", "Ferry from Turku leaves harbour to Oslo. Grandmother enjoys chocolate cake enormously.")
    assert "Ferry" not in run(same, again)[0]
    assert "Ferry" in run(swapped, again)[0]


def test_what_stood_on_lines_of_its_own_still_does() -> None:
    told = ("assistant", "Our plan. Boats leave harbour when sunny.\n\n1. Grandmother\n2. Grandfather")
    assert run(told, FILLER)[0] == "Our plan.\n\n1. Grandmother\n2. Grandfather"


def test_a_message_keeps_a_sentence() -> None:
    said = ("assistant", "Boats leave harbour. Sunny weather stays.")
    assert run(said, FILLER)[0] in ("Boats leave harbour.", "Sunny weather stays.")


def test_the_question_before_a_short_reply_stays() -> None:
    asks = ("assistant", "Grandmother enjoys chocolate cake enormously. Boats leave harbour when sunny?")
    assert "Boats leave harbour when sunny?" in run(FILLER, asks, ("user", "Yes."))[1]
    assert (
        "Boats leave"
        not in run(FILLER, asks, ("user", "Let us talk about music and dancing in Vienna all evening."))[1]
    )


def test_a_sentence_with_facts_goes_only_if_one_other_message_says_it() -> None:
    said = ("assistant", "Boats to Malmö leave harbour at 9:30. Grandmother enjoys chocolate cake enormously.")
    again = ("assistant", "Boats leave harbour to Malmö, departure 9:30, says Jim. Jim knows.")
    apart = [
        ("assistant", "Boats leave harbour to Malmö, says Jim. Jim knows."),
        ("user", "Breakfast is at 9:30 with Jim. Jim eats."),
    ]
    assert run(said, again)[0] == "Grandmother enjoys chocolate cake enormously."
    assert "Malmö leave harbour at 9:30" in run(said, *apart)[0]


def test_the_same_facts_in_other_words_do_not_count_as_said() -> None:
    said = ("assistant", "Ferry Oscar sinks at 9:30. Grandmother enjoys chocolate cake enormously.")
    other = ("assistant", "We told Oscar breakfast starts 9:30. Breakfast takes long.")
    assert "Ferry Oscar sinks" in run(said, other)[0]


def test_a_list_goes_as_a_whole_or_stays_as_a_whole() -> None:
    listed = ("assistant", "Choices:\n- harbour\n- coast\n- mountain\n\nGrandmother enjoys chocolate cake enormously.")
    assert "harbour\ncoast\nmountain" in run(listed, FILLER, FILLER)[0]
    told = ("user", "Choices we heard: harbour, coast, mountain. Grandfather sleeps.")
    assert run(listed, told)[0] == "Grandmother enjoys chocolate cake enormously."


def test_short_sentences_may_be_said_twice() -> None:
    assert run(
        ("user", "Yes, please do."), ("assistant", "Done."), ("user", "Yes, please do. Grand."), profile="Conservative"
    )[2].startswith("Yes")


def test_a_list_shown_again_goes_although_its_lines_are_short() -> None:
    shown = "Options:\n- window seat\n- aisle seat"
    result = run(("assistant", shown), ("user", f"{shown}\nWhich is best?"), profile="Conservative")
    assert result == [shown, "Which is best?"]


def test_instructions_may_repeat_themselves() -> None:
    rule = "Every answer names its source and its date."
    talk = [("user", rule + " Right?"), ("system", rule + " Go on.")]
    assert run(*talk, system_prompt=True, profile="Conservative")[1] == rule + " Go on."


@pytest.mark.parametrize(("times", "goes"), [(0, True), (6, False)])
def test_sentences_go_only_down_to_the_share_of_the_profile(times: int, goes: bool) -> None:
    tale = "Grandmother enjoys chocolate cake enormously, grandfather enjoys black coffee and old books."
    repeated = [("assistant", f"{tale} Chapter{number}.") for number in range(times)]  # shorter by its duplicates alone
    result = run(("user", "Boats leave harbour when sunny. Weather stays."), FILLER, *repeated, profile="Balanced")
    assert (result[:2] != ["Boats leave harbour when sunny. Weather stays.", FILLER[1]]) is goes


def test_the_last_statement_of_a_fact_is_not_released() -> None:
    ledger = Ledger()
    for prose in ("Case A17 is open.", "Ask about A17."):
        ledger.record(prose, Masked(prose, ()))
    assert ledger.release("about A17", Masked("", ()))
    assert not ledger.release("about A17", Masked("", ()))
    assert ledger.release("about it", Masked("", ()))
