"""How many tokens does prompt compression save on real conversations, and what is lost on the way?

Sets made of tau-bench airline conversations and GSM8K problems, always the same ones:

- short: a customer's opening, the agent's answer, the customer's reply;
- short, worked problems: a problem behind two worked ones;
- with memories: a conversation with messages recalled from it and from another one in front;
- long: the 50 longest conversations, whole.

The sentences of courtesy are counted in the questions of BANKING77 and CLINC150 too, on which no rule was made.

Facts are taken out of the texts by rules of this file, not by those of the compressor. The conversations stand with and
without the agent's instructions, 1,252 tokens of rules of which no sentence may go. The exit status is 1 when a fact is
missing.

    python benchmarks/compression.py FOLDER_OF_THE_WORKLOAD_FILES
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_runtime.compression.compress import PROFILES, Policy, compress
from agent_runtime.compression.courtesy import is_courtesy
from agent_runtime.compression.protect import facts as stated_facts
from agent_runtime.compression.protect import mask
from agent_runtime.compression.sentences import Sentence, split_sentences
from agent_runtime.compression.tokens import token_counter

Message = dict[str, Any]

NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
IDENTIFIER = re.compile(r"\b(?:[A-Za-z]+_\w+|[a-z]+[A-Z]\w*|[A-Za-z]+\d\w*|\d+[A-Za-z]\w*|[A-Z]{2,}|\w+\(\))")
QUOTED = re.compile(r'"([^"\n]+)"|“([^”\n]+)”|`([^`\n]+)`')
JSON_VALUE = re.compile(r'":\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null)')
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
GRAMMAR = """a about after all also am an and any are as at be been before being but by can could did do does doing for
from had has have having he her him his how i i'd i'll i'm i've if in into is it it's its just let like me more most my
no not of on only or other our out please really she should so some such than thank thanks that that's the their them
then there these they this those through to too us very was we we'll were what when where which while who will with
would you you'd you'll you're your"""
NO_INFORMATION = frozenset(GRAMMAR.split())

EDGE = "*.,;:!?()[]\"'…–—"
COUNT = token_counter()


def facts(text: str) -> set[str]:
    """Every number, identifier, quoted string and JSON value of a text."""
    found = {match[0] for pattern in (NUMBER, IDENTIFIER) for match in pattern.finditer(text)}
    for pattern in (QUOTED, JSON_VALUE):
        found |= {next(filter(None, match.groups())) for match in pattern.finditer(text)}
    return found


def information_words(text: str) -> set[str]:
    words = WORD.findall(text.lower().replace("’", "'"))
    return {word for word in words if word not in NO_INFORMATION and len(word) > 1}


def text_of(messages: list[Message]) -> str:
    return "\n\n".join(str(message["content"]) for message in messages)


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        yield from map(json.loads, lines)


def conversations(folder: Path) -> list[list[Message]]:
    """What was said up to the last customer's message: instructions, customer, agent. Tool calls are left out."""
    found = []
    for row in rows(folder / "agent_taubench_airline.jsonl.gz"):
        talk = [
            {"role": message["role"], "content": message["content"]}
            for message in row["traj"]
            if message["role"] != "tool" and message.get("content") and not message.get("tool_calls")
        ]
        last = max(at for at, message in enumerate(talk) if message["role"] == "user")
        found.append(talk[: last + 1])
    return found


def prompt_sets(folder: Path, *, instructions: bool) -> dict[str, list[list[Message]]]:
    told = [talk if instructions else talk[1:] for talk in conversations(folder)]
    head = 1 if instructions else 0
    recalled = [
        [*talk[:head], remembered(told[at - 1][head:] + talk[head : head + 4]), *talk[head:]]
        for at, talk in enumerate(told)
        if len(talk) > head + 4
    ]
    return {
        "short": [talk[: head + 3] for talk in told if len(talk) >= head + 3],
        "short, worked problems": [] if instructions else worked_problems(folder),
        "with memories": recalled,
        "long": sorted(told, key=lambda talk: -len(text_of(talk)))[:50],
    }


def remembered(messages: list[Message]) -> Message:
    lines = "\n".join(f"- {message['content']}" for message in messages)
    return {"role": "user", "content": f"What was said before:\n{lines}"}


def worked_problems(folder: Path) -> list[list[Message]]:
    problems = list(rows(folder / "prompts_gsm8k.jsonl.gz"))
    prompts = []
    for at in range(0, 300, 3):
        first, second, asked = problems[at : at + 3]
        worked = [
            {"role": role, "content": problem[key]}
            for problem in (first, second)
            for role, key in (("user", "question"), ("assistant", "answer"))
        ]
        prompts.append([*worked, {"role": "user", "content": asked["question"]}])
    return prompts


def measure(prompts: list[list[Message]], policy: Policy) -> dict[str, float]:
    before = after = lost = stated = words = kept_words = 0
    spent_s: list[float] = []
    for messages in prompts:
        began = time.thread_time()
        result = compress({"messages": messages}, policy, COUNT)
        spent_s.append(time.thread_time() - began)
        before += result.tokens_before
        after += result.tokens_after
        source, short = text_of(messages), text_of(list(result.messages))
        missing = facts(source) - facts(short)
        if missing:
            print("lost:", sorted(missing)[:5], file=sys.stderr)
        lost += len(missing)
        stated += len(facts(source))
        words += len(information_words(source))
        kept_words += len(information_words(source) & information_words(short))
    return {
        "tokens": before / len(prompts),
        "saved": 1 - after / before,
        "facts": stated,
        "lost": lost,
        "words": kept_words / words,
        "p50_ms": statistics.median(spent_s) * 1e3,
        "max_ms": max(spent_s) * 1e3,
    }


def gone(prompts: list[list[Message]], policy: Policy) -> Counter[str]:
    """The information words that a prompt loses, by the number of prompts that lose them."""
    words: Counter[str] = Counter()
    for messages in prompts:
        result = compress({"messages": messages}, policy, COUNT)
        words.update(information_words(text_of(messages)) - information_words(text_of(list(result.messages))))
    return words


def taken_for_courtesy(path: Path) -> Counter[str]:
    """Questions of another domain that the compressor takes for courtesy as a whole, by their intent."""
    return Counter(
        row["intent"] for row in rows(path) if all(is_courtesy(part.text) for part in split_sentences(row["q"]))
    )


def left_over(prompts: list[list[Message]], policy: Policy) -> dict[str, float]:
    """What the tokens are, as shares of the tokens before, that stay in the messages which may be compressed.

    By the compressor's own rules: facts; then the other words of sentences that bind, of lists and headings, of
    questions, and of the sentences that are left.
    """
    shares = dict.fromkeys(("facts", "bind", "lists", "questions", "others"), 0.0)
    before = 0
    for messages in prompts:
        result = compress({"messages": messages}, policy, COUNT)
        before += result.tokens_before
        for message in result.messages[:-1]:
            masked = mask(str(message["content"]))
            assert masked is not None
            for sentence in split_sentences(masked.text):
                text = masked.unmask(sentence.text)
                stated = stated_facts(sentence.text, masked)
                tokens = COUNT(text)
                of_facts = min(sum(COUNT(" " + word) for word in text.split() if word.strip(EDGE) in stated), tokens)
                shares[kind_of(sentence)] += tokens - of_facts
                shares["facts"] += of_facts
    return {kind: tokens / before for kind, tokens in shares.items()}


def kind_of(sentence: Sentence) -> str:
    if sentence.binds:
        return "bind"
    if sentence.structures:
        return "lists"
    return "questions" if sentence.asks else "others"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    lost = 0.0
    COUNT("loads the vocabulary")
    for instructions in (False, True):
        print(f"\n{'With' if instructions else 'Without'} the agent's instructions\n")
        print("| prompts | profile | tokens | saved | facts | lost | information words kept | CPU ms p50 / max |")
        print("|---|---|--:|--:|--:|--:|--:|--:|")
        for name, prompts in prompt_sets(folder, instructions=instructions).items():
            for profile in PROFILES.values() if prompts else ():
                row = measure(prompts, Policy(profile=profile, system_prompt=True))
                lost += row["lost"]
                print(
                    f"| {name} ({len(prompts)}) | {profile.name} | {row['tokens']:.0f} | {row['saved']:.1%} "
                    f"| {row['facts']} | {row['lost']} | {row['words']:.1%} "
                    f"| {row['p50_ms']:.1f} / {row['max_ms']:.1f} |"
                )
    long = prompt_sets(folder, instructions=False)["long"]
    kinds = left_over(long, Policy(profile=PROFILES["Aggressive"])).items()
    print("\nLeft of long, Aggressive: " + ", ".join(f"{kind} {share:.1%}" for kind, share in kinds))
    words = gone(long, Policy(profile=PROFILES["Aggressive"])).most_common(25)
    print("Gone most often: " + ", ".join(word for word, _ in words))
    for name in ("banking77", "clinc150"):
        taken = taken_for_courtesy(folder / f"cache_{name}_stream.jsonl.gz")
        print(f"Questions of {name} that are courtesy to the compressor: {dict(taken)}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
