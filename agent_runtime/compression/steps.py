"""What does each step take out of the texts of a prompt? Each rewrites ``Text.prose`` in place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from agent_runtime.compression.code import shorten_fence
from agent_runtime.compression.courtesy import is_courtesy
from agent_runtime.compression.phrases import Terseness, drop_little_words, drop_markup, english_words, shorten_phrases
from agent_runtime.compression.prompt import Ledger, Text, tidy
from agent_runtime.compression.protect import Masked
from agent_runtime.compression.records import shorten_records
from agent_runtime.compression.sentences import LIST_MARK, split_sentences, without
from agent_runtime.compression.tokens import TokenCounter

DUPLICATE_WORDS = 5
"""Shorter sentences ("Yes, please.") may well be said twice and mean two things."""
ENGLISH_PROMPT, ENGLISH_TEXT = 0.15, 0.05
"""Least shares of common English words for the word lists to apply."""
OMITTED = "[…]"

_OPENING = re.compile(r"^[\s*+•-]*(?:once )?", re.IGNORECASE)
"""Before a sentence of courtesy: behind a list mark its first word would count as a name, and "once" as a number."""
_PIECE = re.compile(r"(?:\S+\s*){1,50}")


def tidy_whitespace(texts: Iterable[Text]) -> None:
    """Superfluous blanks."""
    for text in texts:
        text.prose = tidy(text.prose) or text.prose


def shorten_code(texts: Iterable[Text], ledger: Ledger) -> None:
    """Comments and empty lines of fenced code."""

    def may_drop(comment: str) -> bool:
        return ledger.release(comment, Masked(comment, ()))

    for text in texts:
        text.masked = Masked(
            text.masked.text,
            tuple(
                shorten_fence(part, may_drop) if part.lstrip()[:3] in ("```", "~~~") else part
                for part in text.masked.originals
            ),
        )


def english_texts(texts: Sequence[Text]) -> list[Text]:
    """The English texts of a prompt that is English as a whole: a list of names alone would not show it. To be asked
    before the steps: what they leave has few of the little words by which English is known."""
    shares = [english_words(text.prose) for text in texts]
    if sum(english for english, _ in shares) < ENGLISH_PROMPT * sum(words for _, words in shares):
        return []
    return [text for text, (english, words) in zip(texts, shares, strict=True) if english >= ENGLISH_TEXT * words]


def drop_courtesy(texts: Sequence[Text], ledger: Ledger) -> None:
    """Sentences that only keep the conversation polite. Of a message that holds no others the first one stays."""
    for text in (text for text in texts if not text.system):
        sentences = split_sentences(text.prose)
        polite = [at for at, sentence in enumerate(sentences) if is_courtesy(sentence.text)]
        dropped = {
            at
            for at in polite[len(polite) == len(sentences) :]
            if not text.answers_lean_on(sentences[at])
            and ledger.release(_OPENING.sub("", sentences[at].text), text.masked)
        }
        if dropped:
            text.rewrite(without([sentence.text for sentence in sentences], dropped))


def shorten_wording(texts: Sequence[Text], ledger: Ledger) -> None:
    """Roundabout phrases."""
    for text in texts:
        text.rewrite(shorten_phrases(text.prose, lambda part, masked=text.masked: ledger.release(part, masked)))  # type: ignore[misc]


def drop_words(texts: Sequence[Text], terseness: Terseness) -> None:
    """Little words."""
    for text in texts:
        text.rewrite(drop_little_words(text.prose, terseness))


def drop_list_marks(texts: Iterable[Text]) -> None:
    """Bold marks and bullets. Numbers of lists stay: a reply may name them."""
    for text in texts:
        text.rewrite(drop_markup(text.prose))


def drop_field_names(texts: Iterable[Text]) -> None:
    """Names of fields that the record before has too."""
    for text in texts:
        text.rewrite(shorten_records(text.prose))


def drop_duplicates(texts: Iterable[Text], fixed: Iterable[str], ledger: Ledger) -> None:
    """Runs of sentences and lines that were said before, word for word; the first of them stays.

    A run has at least ``DUPLICATE_WORDS`` words: a list that is shown again counts as one, its lines do not.
    """
    seen: set[tuple[str, str]] = set()
    for prose in fixed:
        _note(seen, [_sameness(sentence.text) for sentence in split_sentences(prose)])
    for text in texts:
        sentences = split_sentences(text.prose)
        same = [_sameness(text.masked.unmask(sentence.text)) for sentence in sentences]
        again = set() if text.system else _repeated(same, seen)
        dropped = {
            at
            for at in sorted(again)
            if not text.answers_lean_on(sentences[at]) and ledger.release(sentences[at].text, text.masked)
        }
        text.rewrite(without([sentence.text for sentence in sentences], dropped))
        _note(seen, same)


def _note(seen: set[tuple[str, str]], same: Sequence[str]) -> None:
    seen.update(("", one) for one in same)
    seen.update(pairwise(same))


def _repeated(same: Sequence[str], seen: set[tuple[str, str]]) -> set[int]:
    """Places of the sentences that belong to a run which was seen before."""
    found: set[int] = set()
    run: list[int] = []
    for at, one in enumerate([*same, ""]):
        if run and (same[run[-1]], one) not in seen:
            if sum(len(same[place].split()) for place in run) >= DUPLICATE_WORDS:
                found.update(run)
            run = []
        if ("", one) in seen:
            run.append(at)
    return found


def _sameness(sentence: str) -> str:
    return " ".join(LIST_MARK.sub("", sentence.strip()).casefold().split())


def cut_middle(texts: Sequence[Text], *, room: int, head_share: float, count: TokenCounter) -> None:
    """Keep ``room`` tokens of the conversation: ``head_share`` of them from its beginning, the rest from its end.

    JSON is not cut. Instructions are not cut either; their tokens are not part of ``room``.
    """
    pieces = [(text, piece) for text in texts if not text.system for piece in _pieces(text)]
    sizes = [count(text.masked.unmask(piece)) for text, piece in pieces]
    whole = [_holds_json(text, piece) for text, piece in pieces]
    room -= sum(size for size, stays in zip(sizes, whole, strict=True) if stays) + count(OMITTED)
    order = range(len(pieces))
    head = _fill(order, sizes, whole, int(room * head_share))
    tail = _fill(reversed(order), sizes, whole, room - sum(sizes[at] for at in head if not whole[at]))
    kept = set(head) | set(tail) | {at for at in order if whole[at]}
    for _, own in groupby(order, key=lambda at: id(pieces[at][0])):
        places = list(own)
        if any(at not in kept for at in places):
            pieces[places[0]][0].rewrite(_join([pieces[at][1] if at in kept else None for at in places]))


def _fill(order: Iterable[int], sizes: Sequence[int], whole: Sequence[bool], room: int) -> list[int]:
    taken = []
    for at in order:
        if not whole[at]:
            room -= sizes[at]
        if room < 0:
            break
        taken.append(at)
    return taken


def _pieces(text: Text) -> list[str]:
    return [
        piece for sentence in split_sentences(text.prose) for piece in _PIECE.findall(sentence.text) or [sentence.text]
    ]


def _holds_json(text: Text, piece: str) -> bool:
    return any(part[:1] in "{[" for part in text.masked.verbatim_in(piece))


def _join(pieces: Sequence[str | None]) -> str:
    """The pieces, with one mark for each gap."""
    joined: list[str] = []
    for piece in pieces:
        if piece is not None:
            joined.append(piece)
        elif not joined or joined[-1] != OMITTED + "\n":
            joined.append(OMITTED + "\n")
    return "".join(joined)
