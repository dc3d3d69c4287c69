"""Which sentences only keep a conversation polite, and what a message keeps when they go."""

from __future__ import annotations

import pytest

from agent_runtime.compression.compress import PROFILES, Policy, Step, compress
from agent_runtime.compression.courtesy import is_courtesy

ASKED = {"role": "user", "content": "And what about the other one?"}


def contents(*talk: tuple[str, str], profile: str = "Conservative") -> list[str]:
    messages = [*({"role": role, "content": text} for role, text in talk), ASKED]
    result = compress({"messages": messages}, Policy(profile=PROFILES[profile]), lambda text: len(text.split()))
    return [message["content"] for message in result.messages[:-1]]


@pytest.mark.parametrize(
    "sentence",
    [
        "Thank you so much for your help!",
        "Thanks for confirming the dates.",
        "You're welcome!",
        "Hi there!",
        "I can help you with that.",
        "How can I assist you today?",
        "Safe travels, and take care!",
        "Have a wonderful evening!",
        "If you have any other questions or need further assistance with your booking, please let me know!",
        "If there's anything else you need help with, such as a seat, a meal or a car, feel free to ask.",
        "Should you need any further help, don't hesitate to reach out.",
        "Once you've provided these details, I can proceed with the booking.",
        "This will help me look into the matter.",
    ],
)
def test_a_sentence_of_nothing_but_courtesy_is_courtesy(sentence: str) -> None:
    assert is_courtesy(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Great, I understand.",
        "That would be great, thank you!",
        "Perfect, thanks!",
        "Sure, thank you.",
        "Yes, thank you.",
        "I'll take care of that, thank you.",
        "I need help with the refund.",
        "I cannot help you with that.",
        "I'm not happy with this.",
        "Thanks, but no.",
        "Who can help me?",
        "You must ask for help.",
        "I'm sorry for your loss.",
        "Thank you, please cancel it.",
        "If you'd like a refund instead, let me know.",
        "If you want to change seats, feel free to ask.",
        "If you need further assistance, I can transfer you to a human agent.",
        "If you need any help with the refund or prefer a voucher, let me know.",
        "Once you have paid, I can proceed.",
        "It would help me reach my other flight.",
        "Thank you. " + "help " * 100,
    ],
)
def test_a_sentence_that_says_more_is_not(sentence: str) -> None:
    assert not is_courtesy(sentence)


def test_courtesy_goes_and_the_report_says_so() -> None:
    said = "Hello! I would like to see the flights to the coast. Thank you for your help!"
    result = compress(
        {"messages": [{"role": "user", "content": said}, ASKED]},
        Policy(profile=PROFILES["Conservative"]),
        lambda text: len(text.split()),
    )
    assert result.messages[0]["content"] == "I want to see flights to coast."
    assert result.removed[Step.COURTESY] == 6


def test_of_a_message_of_nothing_but_courtesy_the_first_sentence_stays() -> None:
    talk = ("user", "I would like to see the flights."), ("assistant", "You're welcome! Have a great day! Take care!")
    assert contents(*talk)[1] == "You're welcome!"


def test_a_fact_within_courtesy_stays_unless_it_stands_elsewhere() -> None:
    said = "I see the flights. Thanks for confirming case A17."
    assert "A17" in contents(("user", said))[0]
    assert contents(("user", said), ("assistant", "Case A17 is the one that you want."))[0] == "I see flights."


@pytest.mark.parametrize("quoted", ["`a b`", '"a b"', '{"a": 1}', "https://a.b/c"])
def test_what_is_quoted_within_courtesy_stays(quoted: str) -> None:
    for said in (f"{quoted} Thank you for all the help!", f"Thank you for all the {quoted} help!"):
        assert quoted in contents(("user", f"I see the flights. {said}"))[0]


def test_an_offer_that_the_next_message_answers_stays() -> None:
    offer = "The flight is booked. Can I help you with anything else?"
    assert "anything else?" in contents(("assistant", offer), ("user", "No."))[0]
    assert (
        "anything else?" not in contents(("assistant", offer), ("user", "I want to see all the flights of the day."))[0]
    )


def test_instructions_keep_their_sentences() -> None:
    rules = {"role": "system", "content": "Help with any questions. You are the agent of the airline."}
    result = compress(
        {"messages": [rules, ASKED]}, Policy(profile=PROFILES["Aggressive"], system_prompt=True), lambda text: len(text)
    )
    assert "Help with any questions." in result.messages[0]["content"]


def test_lines_and_list_marks_around_courtesy_stay() -> None:
    said = (
        "The choices:\n- Hello! The window seat.\n- You're welcome!\n- The aisle seat. Thank you!\n\nThat is all of it."
    )
    assert contents(("assistant", said))[0] == "choices:\n- window seat.\n- aisle seat.\n\nThat is all of it."


def test_numbers_do_not_hide_that_a_text_is_english() -> None:
    listed = "\n".join(f"{number} {number}.50" for number in range(40))
    said = f"Hello! Could you please show me the flight?\n{listed}"
    assert contents(("user", said), profile="Aggressive")[0].startswith("show flight?\n")
