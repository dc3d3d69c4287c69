"""Money: nothing is lost, nothing is rounded in silence."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpool_api.money import nanousd, usd, usd_exact

AMOUNTS = st.integers(-(10**18), 10**18)


@given(AMOUNTS)
def test_the_exact_text_reads_back_as_the_same_amount(amount: int) -> None:
    assert nanousd(usd_exact(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("10.00", 10_000_000_000), ("0.000000001", 1), ("0", 0), ("999999999.999999999", 999_999_999_999_999_999)],
)
def test_decimal_strings_are_read_exactly(text: str, amount: int) -> None:
    assert nanousd(text) == amount


@pytest.mark.parametrize("text", ["0.0000000001", "abc", "NaN", "Infinity", ""])
def test_what_cannot_be_exact_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"money|decimals"):
        nanousd(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1_500_000_000, "1.50"), (1_234_567_890_123, "1234.57"), (1_500_000, "0.0015"), (0, "0.00"), (-5, "-0.000000005")],
)
def test_shown_amounts_keep_cents_and_never_hide_small_sums(amount: int, text: str) -> None:
    assert usd(amount) == text


@given(AMOUNTS)
def test_a_shown_amount_is_within_half_a_cent(amount: int) -> None:
    assert abs(Decimal(usd(amount)) - Decimal(usd_exact(amount))) <= Decimal("0.005")
