"""How is money held and written? Integer nano-USD inside, a decimal string at the edge, never a float."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Annotated

from pydantic import StringConstraints

NANO_PER_USD = 1_000_000_000

USD_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,9})?$"
"""Up to 999,999,999 USD with nine decimals: the whole range fits a signed 64-bit count of nano-USD."""

Usd = Annotated[str, StringConstraints(pattern=USD_PATTERN)]
"""A non-negative amount in US dollars as a decimal string, for example ``"10.00"``."""


def nanousd(amount: str | Decimal) -> int:
    """Nano-USD of an amount in USD.

    Raises ValueError when the amount has more than nine decimals or is no number: money is never rounded in silence.
    """
    with localcontext() as context:
        context.prec = 60
        try:
            scaled = Decimal(amount) * NANO_PER_USD
        except ArithmeticError as error:
            raise ValueError(f"{amount!r} is not an amount of money; write it like 12.50") from error
        if not scaled.is_finite() or scaled != scaled.to_integral_value():
            raise ValueError(f"{amount!r} has more than nine decimals; round it to nano-USD")
        return int(scaled)


def usd(amount_nanousd: int, places: int = 2) -> str:
    """Decimal string in USD with ``places`` decimals (half to even); more decimals are kept below one cent.

    >>> usd(1_500_000_000), usd(1_500_000), usd(0)
    ('1.50', '0.0015', '0.00')
    """
    with localcontext() as context:
        context.prec = 60
        value = Decimal(amount_nanousd) / NANO_PER_USD
        if 0 < abs(value) < Decimal("0.01"):
            return format(value.normalize(), "f")
        return format(value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN), "f")


def usd_exact(amount_nanousd: int) -> str:
    """Decimal string in USD that loses nothing: ``nanousd(usd_exact(x)) == x``."""
    sign, rest = ("-", -amount_nanousd) if amount_nanousd < 0 else ("", amount_nanousd)
    whole, fraction = divmod(rest, NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{sign}{whole}.{digits:0<2}"
