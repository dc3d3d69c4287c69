"""What a compressed request keeps, and what it loses at each profile."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runtime.compression.compress import PROFILES, Compressed, Policy, Step, compress
from agent_runtime.compression.sentences import split_sentences
from agent_runtime.compression.tokens import token_counter


def count(text: str) -> int:
    """A stand-in where the vocabulary does not matter: words."""
    return len(text.split())


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def run(
    messages: list[Any], profile: str = "Aggressive", body: dict[str, Any] | None = None, **policy: Any
) -> Compressed:
    return compress({"messages": messages, **(body or {})}, Policy(profile=PROFILES[profile], **policy), count)


def contents(result: Compressed) -> list[Any]:
    return [message["content"] for message in result.messages]


ASKED = user("And what about the other one?")


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        pytest.param("Conservative", "I want to see all of flights that are on time.", id="articles-and-courtesy"),
        pytest.param("Balanced", "I want see all of flights that on time.", id="grammar"),
        pytest.param("Aggressive", "want see all of flights that on time.", id="persons"),
    ],
)
def test_profiles_differ_in_how_far_they_go(profile: str, expected: str) -> None:
    said = "Hello! I would really like to see all of the flights that are on time, please."
    assert contents(run([user(said), ASKED], profile))[0] == expected


def test_what_carries_the_meaning_stays() -> None:
    said = "You must not cancel it unless the user has no insurance, and never after 24 hours or if it is not flown."
    short = contents(run([user(said), ASKED]))[0]
    for word in ("must", "not", "unless", "no", "never", "after", "24", "or", "if", "insurance", "flown"):
        assert word in short.replace(",", "").replace(".", "").split()


def test_the_last_user_message_and_what_follows_stay_as_they_are() -> None:
    asked, answered = user("Could you please  tell me   the time, please?"), assistant("Sure, the time  is now.")
    result = run([user("Please tell me the name of the city."), asked, answered])
    assert result.messages[1:] == [asked, answered]


def test_the_system_prompt_is_left_alone_unless_allowed() -> None:
    system = {"role": "system", "content": "Please be a very helpful assistant for the users of the airline."}
    messages = [system, user("I want to see the list of the flights."), ASKED]
    assert run(messages).messages[0] == system
    assert contents(run(messages, system_prompt=True))[0] == "helpful assistant for users of airline."


def test_no_sentence_of_the_system_prompt_is_left_out() -> None:
    rules = "The sky is blue and the grass is green. The sky is blue and the grass is green. The sky is blue."
    messages = [{"role": "system", "content": rules}, user("The sky is blue and the grass is green, you say."), ASKED]
    assert contents(run(messages, system_prompt=True))[0].count("sky blue") == 3


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, id="offered"),
        pytest.param({"functions": [{"name": "f"}]}, id="functions"),
    ],
)
def test_a_request_with_tools_is_left_alone_unless_asked_for(extra: dict[str, Any]) -> None:
    messages = [user("I want to see the list of the flights."), ASKED]
    assert run(messages, body=extra).skipped == "tools"
    assert run(messages, body=extra).messages == messages
    assert run(messages, body=extra, with_tools=True).tokens_saved > 0


def test_tool_calls_and_their_results_are_never_changed() -> None:
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
    }
    answer = {"role": "tool", "tool_call_id": "1", "content": "The list  of the flights:\n\n\n\n- the first"}
    messages = [user("I want to see the list of the flights."), call, answer, ASKED]
    assert run(messages).skipped == "tools"
    assert list(run(messages, with_tools=True).messages[1:3]) == [call, answer]


def test_verbatim_parts_stay_to_the_letter() -> None:
    parts = [
        '{"a":  1, "b": [true,  null]}',
        "`the  value`",
        '"the  quoted  text"',
        "https://a.b/the?is=a",
        "| the | a |",
    ]
    said = "I want to see the parts:\n" + "\n".join(parts) + "\nand that is all of the parts."
    short = contents(run([user(said), ASKED]))[0]
    for part in parts:
        assert part in short


def test_what_was_said_before_is_said_once() -> None:
    said = "My luggage was lost somewhere between Paris and Rome. I am rather sad."
    result = run(
        [user(said), assistant("I see. My luggage was lost somewhere between Paris and Rome. Is that so?"), ASKED]
    )
    assert "luggage" in contents(result)[0]
    assert "luggage" not in contents(result)[1]
    assert Step.DUPLICATES in result.removed


def test_a_short_reply_keeps_the_question_it_answers() -> None:
    asked = "I found the flight. Do you want me to book the flight?"
    messages = [user("Book the flight to the city for me."), assistant(asked), user("Yes."), assistant("Done."), ASKED]
    assert "book flight?" in contents(run(messages))[1]
    assert contents(run(messages))[2] == "Yes."


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            "US citizens need AM flights.", "US citizens need AM flights.", id="abbreviations-that-look-little"
        ),
        pytest.param("See the list\nPlease confirm it.", "See list\nconfirm it.", id="a-line-opens-a-sentence"),
        pytest.param("We don't have the ability to do that.", "don't have ability to do that.", id="negated-ability"),
        pytest.param("It has been successfully booked for the day.", "It booked for day.", id="passive"),
        pytest.param("Please send the code so I can check the list.", "send code.", id="purpose"),
        pytest.param("Please confirm if you'd like to proceed with the plan.", "confirm plan.", id="confirmation"),
        pytest.param("I understand the rule, but it is late.", "but it late.", id="the-contrast-stays"),
    ],
)
def test_wordings_of_the_shortest_profile(said: str, expected: str) -> None:
    assert contents(run([assistant(said), ASKED]))[0] == expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It costs 15. Please pay.", 2),
        ("1. First of all", 1),
        ("- item 12. Next", 2),
        ("we wait. is that fine? yes", 3),
        ("see e.g. the list", 1),
        ("approx. two of them", 1),
        ("python 3.11 and node.js are there", 1),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, count: int) -> None:
    assert len(split_sentences(text)) == count
    assert "".join(sentence.text for sentence in split_sentences(text)) == text


def test_a_list_stays_whole() -> None:
    said = "These are the options:\n- Window seat\n- Aisle seat\nThat is all."
    result = run([user("I like the window seat and the aisle seat, all of it."), assistant(said), ASKED])
    assert "Window seat\nAisle seat" in contents(result)[1]


def test_parts_of_a_message_are_compressed_one_by_one() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "This is the picture of the house."}, image]
    assert contents(run([user(parts), ASKED]))[0] == [{"type": "text", "text": "This picture of house."}, image]
    assert parts[0]["text"] == "This is the picture of the house."  # the caller's object is its own


def test_above_the_limit_the_middle_goes_and_it_is_said() -> None:
    talk = [user(f"Message {at} of the talk names item{at}.") for at in range(200)]
    result = run([*talk, ASKED], max_tokens=100)
    said = " ".join(contents(result))
    assert result.lost_facts
    assert result.tokens_after <= 100 + len(talk)  # a message is never left empty
    assert "item0 " in said.replace(".", " ") and "item199" in said and "item100." not in said
    assert contents(result)[-1] == ASKED["content"]


def test_without_a_limit_nothing_is_cut() -> None:
    talk = [user(f"Message {at} of the talk names item{at}.") for at in range(200)]
    result = run([*talk, ASKED], max_tokens=0)
    assert not result.lost_facts
    assert all(f"item{at}." in " ".join(contents(result)) for at in range(200))


def test_the_report_adds_up() -> None:
    result = run([user("Hello! I would like to  see the flights, please. Thank you."), ASKED])
    assert sum(result.removed.values()) == result.tokens_saved == result.tokens_before - result.tokens_after
    assert result.tokens_saved > 0


def test_text_in_another_language_keeps_its_words() -> None:
    said = "Ich möchte am Montag an der Küste sein, und meine Frau kommt mit. Wo ist die Bahn?"
    assert contents(run([user(said), ASKED]))[0] == said


def test_tokens_are_counted_with_a_real_vocabulary() -> None:
    assert token_counter()("hello world") == 2
    assert token_counter()("\ud800") >= 1
