"""Records of a list name their fields once, and can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.compression.compress import PROFILES, Policy, Step, compress
from agent_runtime.compression.records import shorten_records

FLIGHTS = """Flights:
1. Flight HAT025
 Departure: 04:00 EST
 Price: $149

2. Flight HAT068
 Departure: 11:00 EST
 Price: $107

Which one?"""


def test_the_first_record_names_the_fields_for_the_others() -> None:
    assert shorten_records(FLIGHTS) == FLIGHTS.replace(" Departure: 11:00 EST\n Price: $107", " 11:00 EST; $107")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(" Price: $107", " Cost: $107", id="other-names"),
        pytest.param(" Price: $107\n", "", id="fewer-fields"),
        pytest.param("11:00 EST", "11:00; 12:00", id="a-value-with-the-separator"),
        pytest.param("\n2. Flight", "\nOf tomorrow:\n\nFrom Paris:\n\n2. Flight", id="another-list"),
        pytest.param("Price", "price", id="settings-rather-than-prose"),
        pytest.param("Price", "Departure", id="the-same-name-twice"),
    ],
)
def test_other_lists_stay_as_they_are(old: str, new: str) -> None:
    text = FLIGHTS.replace(old, new)
    assert shorten_records(text) == text


NAMES = st.lists(st.sampled_from(["Departure", "Arrival", "Price", "Seats left", "Gate"]), min_size=2, unique=True)
VALUE = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P"], exclude_characters=";"), min_size=1, max_size=8
)


@given(NAMES, st.data())
def test_every_value_can_be_read_back(names: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(VALUE, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    fields = ["\n".join(f" {name}: {value}" for name, value in zip(names, row, strict=True)) for row in rows]
    text = "\n".join(f"- item {number}\n{record}" for number, record in enumerate(fields))
    short = shorten_records(text)
    assert short == shorten_records(short)
    assert len(short) <= len(text)
    first, *others = short.split("- item ")[1:]
    assert first.split("\n", 1)[1].strip("\n") == fields[0]
    assert [other.split("\n")[1].strip().split("; ") for other in others] == rows[1:]


def test_a_prompt_with_records_gets_shorter_and_the_report_says_so() -> None:
    listed = {"role": "assistant", "content": FLIGHTS.replace(" Dep", "   - **Dep").replace("ture:", "ture:**")}
    messages = [listed, {"role": "user", "content": "The first one."}]
    result = compress({"messages": messages}, Policy(profile=PROFILES["Balanced"]), lambda text: len(text.split()))
    assert "11:00 EST; $107" in result.messages[0]["content"]
    assert result.removed[Step.FIELDS] == 2


def test_a_prompt_that_is_cut_keeps_the_names_of_its_fields() -> None:
    talk = [{"role": "assistant", "content": FLIGHTS.replace("HAT", f"H{number}AT")} for number in range(20)]
    messages = [*talk, {"role": "user", "content": "The first one."}]
    policy = Policy(profile=PROFILES["Balanced"], max_tokens=100)
    result = compress({"messages": messages}, policy, lambda text: len(text.split()))
    assert result.lost_facts
    assert Step.FIELDS not in result.removed
