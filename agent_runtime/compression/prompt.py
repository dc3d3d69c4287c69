"""Which texts of a chat request may be compressed, and what does the whole prompt state?

Reads OpenAI chat messages, whose content is a string or a list of parts, without trusting their shape: what it does not
know, it does not touch. Pure; ``Ledger`` and ``Text`` are working objects of one compression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runtime.compression.protect import Masked, facts, mask
from agent_runtime.compression.sentences import Sentence

_SYSTEM = ("system", "developer")
_BLANKS = (
    (re.compile(r"(?<![ \t])[ \t]+(?=\n)"), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
    (re.compile(r"(?<=\S)[ \t]{2,}(?=\S)"), " "),
)
SHORT_REPLY_WORDS = 8
"""A reply this short ("yes, the second") only means something beside the question it answers."""


@dataclass(slots=True)
class Text:
    """One text that may be compressed: a message's content or one part of it."""

    message: int
    part: int | None
    masked: Masked
    prose: str
    """The masked text, as far as the steps have got."""
    role: str
    """Of the message: user, assistant, or one of instructions."""
    answered_briefly: bool
    """The next message is a short reply, so the question in this one stays."""

    @property
    def system(self) -> bool:
        """Instructions: may be worded shorter, but no sentence of them is left out."""
        return self.role in _SYSTEM

    def answers_lean_on(self, sentence: Sentence) -> bool:
        """Whether the next message only means something beside this sentence."""
        return self.answered_briefly and sentence.asks

    def rewrite(self, prose: str) -> None:
        """Give the text a new wording, without the blanks that the step leaves over. A message is never left empty:
        endpoints refuse empty messages, and some models insist on users and assistants taking turns."""
        if prose != self.prose:
            self.prose = tidy(prose) or self.prose

    def final(self) -> str:
        return self.masked.unmask(self.prose)


def tidy(prose: str) -> str:
    """The text without blanks at line ends, runs of blanks, more than one empty line. Indentation stays."""
    for pattern, short in _BLANKS:
        prose = pattern.sub(short, prose)
    return prose.rstrip()


class Ledger:
    """How often the prompt states each fact, so that the last statement of it is never taken out."""

    def __init__(self) -> None:
        self._statements: Counter[str] = Counter()

    def record(self, prose: str, masked: Masked) -> None:
        self._statements.update(facts(prose, masked))

    def release(self, prose: str, masked: Masked) -> bool:
        """Let a stretch of text go if everything it states stands elsewhere too; whether it may go."""
        stated = facts(prose, masked)
        if any(self._statements[fact] < 2 for fact in stated):
            return False
        self._statements.subtract(stated)
        return True


def uses_tools(body: Mapping[str, Any]) -> bool:
    """Whether the request offers tools or its conversation holds calls of them."""
    return bool(body.get("tools") or body.get("functions")) or any(
        isinstance(message, dict)
        and (message.get("tool_calls") or message.get("function_call") or message.get("role") in ("tool", "function"))
        for message in body.get("messages") or ()
    )


def texts_of(message: object) -> Iterator[tuple[int | None, str]]:
    """Part number (None: the content is one string) and text of each text a message holds."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        yield None, content
    elif isinstance(content, list):
        for number, part in enumerate(content):
            if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
                yield number, part["text"]


def open_texts(messages: Sequence[Any], *, system_prompt: bool) -> list[Text]:
    """The texts that may be compressed: those of users and assistants before the last user message, and instructions
    where ``system_prompt`` allows it."""
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    last_user = max((at for at, role in enumerate(roles) if role == "user"), default=0)
    found = []
    for at, message in enumerate(messages[:last_user]):
        role = str(roles[at])
        if role not in ("user", "assistant") and not (role in _SYSTEM and system_prompt):
            continue
        reply = messages[at + 1] if roles[at + 1] == "user" else None
        for part, text in texts_of(message):
            if masked := mask(text):
                found.append(Text(at, part, masked, masked.text, role, _is_short(reply)))
    return found


def _is_short(message: object) -> bool:
    return message is not None and sum(len(text.split()) for _, text in texts_of(message)) <= SHORT_REPLY_WORDS


def fixed_texts(messages: Sequence[Any], opened: Iterable[Text]) -> Iterator[str]:
    """The texts that stay as they are."""
    taken = {(text.message, text.part) for text in opened}
    for at, message in enumerate(messages):
        for part, text in texts_of(message):
            if (at, part) not in taken:
                yield text


def with_texts(messages: Sequence[Any], changed: Iterable[Text]) -> list[Any]:
    """The messages with the compressed texts in place; the given ones are not modified."""
    result = list(messages)
    for text in changed:
        message = dict(result[text.message])
        if text.part is None:
            message["content"] = text.final()
        else:
            message["content"] = [*message["content"]]
            message["content"][text.part] = message["content"][text.part] | {"text": text.final()}
        result[text.message] = message
    return result
