"""How often does the semantic cache answer, and how often wrongly?

    python benchmarks/semantic_cache.py DATA [--model FOLDER] [--orders N] [--spaces] [--vectors FILE]

DATA holds ``cache_banking77_stream.jsonl.gz``, ``cache_clinc150_stream.jsonl.gz`` and
``cache_banking77_pairs.jsonl.gz``. A stream is replayed in its order. The intent stands for the answer: a hit is
right when the answer served is the intent's; an out-of-scope question has an answer of its own, so that every hit on
one is wrong. Only a true call shows an answer to the cache, and every true call counts as a miss, those made to learn
as well. Also shown: the static threshold at which wrong/hits is still 1 %, which is what gateways with one fixed
threshold can reach at best, chosen in hindsight.

``--orders N`` repeats all that on N random orders of the streams and on N random halves of their intents: the
settings were chosen on these files, and other intents in other orders are the nearest to unseen traffic that they
offer. ``--spaces`` repeats it with vectors as other encoders give them, made of the same ones: a similarity that all
texts have in common is added (in the spaces of many encoders strangers have a cosine of 0.7), or they are projected to
fewer dimensions, which is a worse encoder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from agent_runtime.semantic.embedder import Encoder
from agent_runtime.semantic.learned import LearnedCache

DELTA = 0.01
SAMPLE_SHARE = 0.03
OUT_OF_SCOPE = "oos"


COUNTRIES = str.split(
    "france germany spain italy portugal poland norway sweden finland denmark austria belgium greece turkey egypt kenya"
    " ghana nigeria chile peru brazil argentina canada mexico japan china india nepal thailand vietnam laos malaysia"
    " indonesia australia fiji iceland ireland scotland wales england ukraine russia georgia armenia iran iraq syria"
    " jordan israel lebanon libya tunisia algeria morocco mali niger chad sudan ethiopia somalia uganda rwanda angola"
    " zambia zimbabwe botswana namibia cuba jamaica haiti panama colombia ecuador bolivia paraguay uruguay"
)
ASKED_OF_A_COUNTRY = {
    "capital": (
        "what is the capital of {}",
        "tell me the capital of {}",
        "capital city of {} please",
        "which city is the capital of {}",
        "do you know {}'s capital",
    ),
    "population": ("how many people live in {}", "what is the population of {}", "population of {}"),
}


@dataclass(frozen=True)
class Stream:
    name: str
    questions: list[str]
    intents: list[str]
    vectors: np.ndarray


@dataclass(frozen=True)
class Score:
    questions: int
    hits: int
    wrong: int
    sampled: int
    strays: int
    stray_hits: int

    def row(self, name: str) -> str:
        strays = f"{self.stray_hits / self.strays:7.2%} ({self.stray_hits}/{self.strays})" if self.strays else "      –"
        return (
            f"{name:34} {self.hits / self.questions:7.1%} {self.wrong / max(self.hits, 1):10.2%} "
            f"{self.wrong / self.questions:13.2%} {self.sampled:8d}  {strays}"
        )


HEADER = f"{'':34} {'hits':>7} {'wrong/hits':>10} {'wrong/queries':>13} {'sampled':>8}  out of scope answered"


def replay(stream: Stream, seed: int) -> Score:
    """The stream through a fresh cache."""
    cache = LearnedCache(delta=DELTA, sample_share=SAMPLE_SHARE, max_entries=10_000)
    chance = random.Random(seed)
    hits = wrong = sampled = stray_hits = 0
    for number, (question, intent) in enumerate(zip(stream.questions, stream.intents, strict=True)):
        truth = f"{intent} {number}" if intent == OUT_OF_SCOPE else intent
        found = cache.consult("all", question, stream.vectors[number], now_s=0.0, chance=chance.random())
        sampled += found.outcome == "sampled"
        if found.key is None:
            key = f"{number}:{truth}"
            cache.learn(found, tenant="t", key=key, answer=truth, answer_vector=None, expires_s=1.0)
            continue
        hits += 1
        wrong += found.key.partition(":")[2] != truth
        stray_hits += intent == OUT_OF_SCOPE
    return Score(len(stream.questions), hits, wrong, sampled, stream.intents.count(OUT_OF_SCOPE), stray_hits)


def static(stream: Stream) -> tuple[float, Score]:
    """The threshold on the nearest question that hits most with at most 1 % of its hits wrong, chosen in hindsight."""
    best: tuple[float, Score] | None = None
    for threshold in np.arange(0.70, 0.96, 0.01):
        rows = np.empty_like(stream.vectors)
        known: list[str] = []
        hits = wrong = stray_hits = 0
        for vector, intent in zip(stream.vectors, stream.intents, strict=True):
            similarities = rows[: len(known)] @ vector
            nearest = int(similarities.argmax()) if known else -1
            if known and similarities[nearest] >= threshold:
                hits += 1
                wrong += known[nearest] != intent or intent == OUT_OF_SCOPE
                stray_hits += intent == OUT_OF_SCOPE
            else:
                rows[len(known)] = vector
                known.append(intent)
        score = Score(len(known) + hits, hits, wrong, 0, stream.intents.count(OUT_OF_SCOPE), stray_hits)
        if wrong <= DELTA * hits and (best is None or hits > best[1].hits):
            best = float(threshold), score
    if best is None:
        raise SystemExit(f"{stream.name}: no threshold keeps wrong/hits below {DELTA:.0%}")
    return best


def pairs(rows: list[dict[str, str]], vectors: dict[str, np.ndarray]) -> None:
    """Each pair on a cache of its own: ``a`` is known, ``b`` is asked."""
    accepted = {0: 0, 1: 0}
    total = {0: 0, 1: 0}
    for row in rows:
        a, b, same = row["a"], row["b"], int(row["same"])
        cache = LearnedCache(delta=DELTA, sample_share=0.0, max_entries=10)
        first = cache.consult("all", a, vectors[a], now_s=0.0, chance=0.0)
        cache.learn(first, tenant="t", key="a", answer="a", answer_vector=None, expires_s=1.0)
        accepted[same] += cache.consult("all", b, vectors[b], now_s=0.0, chance=0.0).key is not None
        total[same] += 1
    print("\npairs, each on a cold cache")
    for same, name in ((0, "hard negatives accepted"), (1, "same intent accepted")):
        print(f"{name:34} {accepted[same]}/{total[same]} ({accepted[same] / total[same]:.2%})")


def lookups(seed: int) -> tuple[list[str], list[str]]:
    """Questions that differ in one word, each with an answer of its own, in lower case: what embeddings confuse most.

    Repeated questions are left out: the response cache answers them.
    """
    chance = random.Random(seed)
    texts = {
        form.format(country): f"{what} of {country}"
        for what, forms in ASKED_OF_A_COUNTRY.items()
        for form in forms
        for country in COUNTRIES
    }
    questions = chance.sample(sorted(texts), len(texts))
    return questions, [texts[question] for question in questions]


def reordered(stream: Stream, seed: int) -> Stream:
    return _part(stream, random.Random(seed).sample(range(len(stream.questions)), len(stream.questions)), "order")


def halved(stream: Stream, seed: int) -> Stream:
    """Half of the intents, and half of the out-of-scope questions, in their order."""
    chance = random.Random(seed)
    intents = sorted(set(stream.intents) - {OUT_OF_SCOPE})
    kept = set(chance.sample(intents, len(intents) // 2))
    return _part(
        stream,
        [
            number
            for number, intent in enumerate(stream.intents)
            if intent in kept or (intent == OUT_OF_SCOPE and chance.random() < 0.5)
        ],
        "half",
    )


def spaces(stream: Stream) -> list[Stream]:
    """The stream in the vector spaces of pretended encoders."""
    found = []
    for common in (0.5, 0.7, 0.85):
        shared = np.full((len(stream.vectors), 1), common**0.5, np.float32)
        found.append((f"strangers at {common}", np.hstack([(1 - common) ** 0.5 * stream.vectors, shared])))
    for dimensions in (64, 24):
        matrix = np.random.default_rng(0).normal(size=(stream.vectors.shape[1], dimensions)).astype(np.float32)
        projected = stream.vectors @ matrix
        found.append((f"{dimensions} dimensions", projected / np.linalg.norm(projected, axis=1, keepdims=True)))
    return [replace(stream, name=f"{stream.name}, {name}", vectors=vectors) for name, vectors in found]


def _part(stream: Stream, numbers: list[int], kind: str) -> Stream:
    return Stream(
        f"{stream.name}, {kind}",
        [stream.questions[number] for number in numbers],
        [stream.intents[number] for number in numbers],
        stream.vectors[numbers],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=Path("build/encoder"), help="folder of model.onnx (make encoder)")
    parser.add_argument("--orders", type=int, default=0, help="random orders and halves beside the order of the files")
    parser.add_argument("--spaces", action="store_true", help="also in the vector spaces of pretended encoders")
    parser.add_argument("--vectors", type=Path, help="keep the embeddings in this .npz file")
    options = parser.parse_args()

    read = {
        name: read_rows(options.data / f"cache_{name}.jsonl.gz")
        for name in ("banking77_stream", "clinc150_stream", "banking77_pairs")
    }
    asked, answers = lookups(seed=0)
    texts = sorted(
        {row[field] for rows in read.values() for row in rows for field in ("q", "a", "b") if field in row} | set(asked)
    )
    vectors = embed(texts, options.model, options.vectors)
    streams = [
        Stream(
            name,
            [row["q"] for row in rows],
            [row["intent"] for row in rows],
            np.array([vectors[row["q"]] for row in rows]),
        )
        for name, rows in read.items()
        if name.endswith("stream")
    ]
    print(HEADER)
    confusing = Stream("one word differs", asked, answers, np.array([vectors[question] for question in asked]))
    print(replay(confusing, seed=0).row(f"{confusing.name}, learned"))
    for stream in streams:
        threshold, score = static(stream)
        print(score.row(f"{stream.name}, static {threshold:.2f}"))
        print(replay(stream, seed=0).row(f"{stream.name}, learned"))
    for vary in (reordered, halved) if options.orders else ():
        for stream in streams:
            for number in range(options.orders):
                varied = vary(stream, number)
                print(replay(varied, seed=number).row(f"{varied.name} {number}, learned"), flush=True)
    for stream in streams if options.spaces else ():
        for other in spaces(stream):
            print(replay(other, seed=0).row(f"{other.name}, learned"), flush=True)
    pairs(read["banking77_pairs"], vectors)


def read_rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def embed(texts: list[str], model: Path, kept: Path | None) -> dict[str, np.ndarray]:
    """Vectors of the texts, from the file when it holds exactly these."""
    if kept is not None and kept.exists():
        held = np.load(kept)
        if held["texts"].tolist() == texts:
            return dict(zip(texts, held["vectors"], strict=True))
    vectors = Encoder(model).encode_all(texts)
    if kept is not None:
        np.savez(kept, texts=np.array(texts), vectors=vectors)
    return dict(zip(texts, vectors, strict=True))


if __name__ == "__main__":
    main()
