"""How are durations and sizes written in a manifest, and what are they in seconds and bytes?"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import StringConstraints

DURATION_PATTERN = r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$"
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"

Duration = Annotated[str, StringConstraints(pattern=DURATION_PATTERN, max_length=32)]
"""Numbers with units ms, s, m, h, d, for example ``90s`` or ``1h30m``."""

Size = Annotated[str, StringConstraints(pattern=SIZE_PATTERN, max_length=32)]
"""Bytes in Kubernetes' notation, for example ``100Mi``."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def duration_s(text: str) -> float:
    """Seconds of a duration. Raises ValueError with an example when the text is none.

    >>> duration_s("1h30m"), duration_s("250ms")
    (5400.0, 0.25)
    """
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 30m or 1h30m")
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size_bytes(text: str) -> int:
    """Bytes of a size. Raises ValueError with an example when the text is none.

    >>> size_bytes("100Mi"), size_bytes("1.5k")
    (104857600, 1500)
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write it like 100Mi or 2Gi")
    return int(Decimal(match[1]) * _BYTES[match[2] or ""])
