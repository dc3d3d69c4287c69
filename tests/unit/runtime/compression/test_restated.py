"""What a speaker says again in nearly the same words goes; what differs in what it commits to stays."""

from __future__ import annotations

import pytest

from agent_runtime.compression.compress import PROFILES, Policy, Step, compress

FIRST = "Travel insurance covers delays, storms, strikes and lost luggage for members, but not change fees. Ask away."


def run(*talk: tuple[str, str], profile: str = "Balanced") -> list[str]:
    asked = {"role": "user", "content": "And what do you think of all that now that the day is over?"}
    messages = [*({"role": role, "content": text} for role, text in talk), asked]
    # without tokens the profile's share is reached, so nothing goes for its score
    result = compress({"messages": messages}, Policy(profile=PROFILES[profile]), lambda text: 0)
    return [message["content"] for message in result.messages[:-1]]


def restated(said: str, *, speaker: str = "assistant", first: str = FIRST, profile: str = "Balanced") -> bool:
    """Whether the sentence goes when ``first`` was said before it; its numbers and names stand elsewhere, too."""
    elsewhere = ("user", "We know of 12 houses. We know Malmö. We know Alice and 20 of Bob.")
    again = run(elsewhere, ("assistant", first), (speaker, f"Grandmother sleeps. {said}"), profile=profile)[2]
    return said.split()[-1] not in again


AGAIN = "Travel insurance covers storms, strikes and lost luggage for members, but not any change fees."


def test_what_is_said_again_in_other_words_goes() -> None:
    assert restated(AGAIN)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(AGAIN.replace("not any ", ""), id="without-the-negation"),
        pytest.param(AGAIN.replace("covers", "may cover"), id="with-a-condition"),
        pytest.param(AGAIN.replace("storms", "12 storms"), id="with-another-number"),
        pytest.param(AGAIN.replace("members", "Malmö"), id="with-another-name"),
        pytest.param(AGAIN.replace("strikes and lost", "lost"), id="is-fine-with-fewer-words"),
        pytest.param("Lost luggage covers travel insurance for members, but not any change fees.", id="another-order"),
        pytest.param(AGAIN.replace(".", "?"), id="as-a-question"),
        pytest.param("Insurance covers luggage, but not fees.", id="few-words"),
    ],
)
def test_what_says_something_else_stays(said: str, request: pytest.FixtureRequest) -> None:
    assert restated(said) is ("is-fine-with-fewer-words" in request.node.callspec.id)


def test_what_another_speaker_says_stays() -> None:
    assert not restated(AGAIN, speaker="user")


def test_conservative_keeps_it() -> None:
    assert not restated(AGAIN, profile="Conservative")


def test_who_pays_whom_is_not_the_same_the_other_way_round() -> None:
    first = "Yesterday evening Alice transferred 20 dollars to Bob behind our old house. Fine."
    assert not restated("Yesterday evening Bob transferred 20 dollars to Alice behind house.", first=first)
    assert restated("Yesterday evening Alice transferred 20 dollars to Bob behind house.", first=first)


def test_of_sentences_that_rest_on_each_other_one_stays() -> None:
    words = "Boats leave harbour when weather stays sunny along"
    talk = run(*(("assistant", f"Grandmother{at} sleeps. {words} coast{'al' * at} roads.") for at in range(4)))
    assert sum("harbour" in text for text in talk) == 1
    assert "harbour" in talk[0]


def test_what_stands_for_another_sentence_stays_itself() -> None:
    words = ["Boats", "leave", "harbour", "early", "morning", "towards", "sunny", "islands", "beyond", "coast"]
    claims = [[*words[:8], "despite", "delay"], words, [*words[2:], "lasting", "hours"]]
    talk = run(*(("assistant", f"Grandmother sleeps. {' '.join(claim).capitalize()}.") for claim in claims))
    assert "beyond coast" in " ".join(talk)


def test_nearly_the_same_headings_stay() -> None:
    headings = ("**Boats leave our harbour early morning**", "**Boats leave harbour early morning**")
    talk = run(*(("assistant", f"{heading}\n- at nine\n- at ten") for heading in headings))
    assert all("harbour" in text for text in talk)


def test_the_report_says_it() -> None:
    messages = [{"role": "assistant", "content": text} for text in (FIRST, f"Grandmother sleeps. {AGAIN}")]
    result = compress(
        {"messages": [*messages, {"role": "user", "content": "And now?"}]},
        Policy(profile=PROFILES["Balanced"]),
        lambda text: len(text.split()),
    )
    assert result.removed[Step.RESTATED] > 5
