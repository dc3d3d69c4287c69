"""How many tokens is a text?

Counted with OpenAI's o200k vocabulary (gpt-4o and later). For models with another vocabulary the figure is an
estimate; shares of tokens saved carry over well, absolute counts less so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

TokenCounter = Callable[[str], int]


@cache
def token_counter() -> TokenCounter:
    """The counter. The first call loads the vocabulary: about 0.15 s and 67 MB, so only who counts pays for it."""
    from rs_bpe import openai

    count: TokenCounter = openai.o200k_base().count

    def count_tokens(text: str) -> int:
        try:
            return count(text)
        except UnicodeEncodeError:  # JSON may carry half of a surrogate pair, which no tokenizer reads
            return count(text.encode("utf-8", "replace").decode("utf-8"))

    return count_tokens
