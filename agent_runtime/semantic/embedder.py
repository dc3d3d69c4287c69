"""How does a text become a vector, without the event loop ever waiting?

MiniLM on onnxruntime in one thread of its own: onnxruntime releases the interpreter while it computes. Texts that come
while a batch is computed make up the next one; a second text opens a short window for more, a lone one is never held
up.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Generic

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from tokenizers import Tokenizer

from agent_runtime.semantic.vectors import Result, VectorCache, Vectors

BATCH = 32
ALIKE = 8
"""So many texts of similar length are computed together: enough for the matrix products to be fast, while attention,
which sees all texts of a batch as long as its longest, wastes little."""
BATCH_CHARACTERS = 4000
"""Long texts go in smaller batches: 256 tokens take some 50 ms, and a short question must not wait for 32 of them."""
MOST_TOKENS = 256
"""MiniLM was trained on no more; the rest of a longer text does not count."""
WINDOW_S = 0.002
"""Longest wait for more texts once two are there."""
PATIENCE_S = 0.25
"""Longest wait for the embedder; a busy one costs an answer from the cache, not the caller's time."""


class Encoder:
    """The model: texts to unit vectors. For one thread at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError when the folder holds no model."""
        for name in ("model.onnx", "tokenizer.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder / name} is missing: make the model with `make encoder`")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MOST_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # the arena never gives back what the longest batch took
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, 384] of texts, computed at once."""
        tokens = [np.array(one.ids, np.int64) for one in self._tokenizer.encode_batch(list(texts))]
        vectors: Vectors = self._session.run(None, packed(tokens))[0]
        return vectors

    def encode_all(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, 384] of any number of texts, those of similar length together."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), ALIKE):
            part = order[start : start + ALIKE]
            vectors[part] = self.encode([texts[number] for number in part])
        return vectors


def packed(tokens: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Inputs of the model (``convert.build_model``) for a batch of token ids."""
    lengths = np.array([len(ids) for ids in tokens])
    batch, longest, total = len(tokens), int(lengths.max()), int(lengths.sum())
    rows = np.repeat(np.arange(batch), lengths)
    positions = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    cells = np.zeros((batch, longest), np.int64)
    cells[rows, positions] = np.arange(total)
    mask = np.zeros((batch, longest), np.int32)
    mask[rows, positions] = 1
    pooling = np.zeros((batch, total), np.float32)
    pooling[rows, np.arange(total)] = 1.0 / lengths[rows]
    return {
        "ids": np.concatenate(tokens),
        "positions": positions.astype(np.int64),
        "cells": cells,
        "mask": mask,
        "places": (rows * longest + positions).astype(np.int64),
        "pooling": pooling,
    }


@dataclass(frozen=True, slots=True)
class _Job(Generic[Result]):
    texts: Sequence[str]
    then: Callable[[list[Vectors]], Result]
    future: asyncio.Future[Result]
    loop: asyncio.AbstractEventLoop

    @property
    def characters(self) -> int:
        return sum(len(text) for text in self.texts)


class Embedder:
    """Embeds in a thread of its own, and runs what needs the vectors there too."""

    def __init__(self, encoder: Encoder, *, cache_bytes: int) -> None:
        self._encoder = encoder
        self._cache = VectorCache(cache_bytes)
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

    @property
    def patience_s(self) -> float:
        """Longest wait for the vector of a question."""
        return PATIENCE_S

    @property
    def cached_bytes(self) -> int:
        """Bytes of the vectors kept for texts seen again."""
        return self._cache.size_bytes

    async def run(self, texts: Sequence[str], then: Callable[[list[Vectors]], Result]) -> Result:
        """Embed texts, then call ``then`` with their vectors in the embedder's thread; gives its result.

        All ``then`` run one after the other. Its exception is raised here.
        """
        loop = asyncio.get_running_loop()
        job = _Job(texts, then, loop.create_future(), loop)
        self._jobs.put(job)
        result: Result = await job.future
        return result

    async def embed(self, text: str) -> Vectors:
        """The vector [384] of a text; at once when it is cached."""
        known = self._cache.peek(text)
        return known if known is not None else await self.run([text], lambda vectors: vectors[0])

    async def forget_cached(self) -> None:
        """Let all cached vectors go."""
        await self.run([], lambda _: self._cache.clear())

    async def aclose(self) -> None:
        """End the thread after the jobs it has."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End the thread after the jobs it has."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            jobs, last = self._collect()
            try:
                vectors = self._vectors(list(dict.fromkeys(text for job in jobs for text in job.texts)))
            except Exception as error:  # whatever it is, those who wait must hear of it
                for job in jobs:
                    _settle(job, None, error)
            else:
                for job in jobs:
                    _finish(job, vectors)
            if last:
                return

    def _collect(self) -> tuple[list[_Job[Any]], bool]:
        """Jobs of the next batch, and whether they are the last."""
        first = self._jobs.get()
        if first is None:
            return [], True
        jobs, texts, characters, until_s = [first], len(first.texts), first.characters, 0.0
        while texts < BATCH and characters < BATCH_CHARACTERS:
            try:
                job = self._jobs.get(timeout=max(until_s - monotonic(), 0.0)) if until_s else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            until_s = until_s or monotonic() + WINDOW_S
            jobs.append(job)
            texts += len(job.texts)
            characters += job.characters
        return jobs, False

    def _vectors(self, texts: list[str]) -> dict[str, Vectors]:
        """Vectors of distinct texts, cached ones first."""
        found: dict[str, Vectors] = {}
        for text in texts:
            if (known := self._cache.get(text)) is not None:
                found[text] = known
        missing = [text for text in texts if text not in found]
        if missing:
            for text, vector in zip(missing, self._encoder.encode_all(missing), strict=True):
                found[text] = vector
                self._cache.keep(text, vector.copy())
        return found


def _finish(job: _Job[Any], vectors: dict[str, Vectors]) -> None:
    try:
        result = job.then([vectors[text] for text in job.texts])
    except Exception as error:
        _settle(job, None, error)
    else:
        _settle(job, result, None)


def _settle(job: _Job[Any], result: object, error: Exception | None) -> None:
    """Tell the loop, unless it has ended meanwhile."""

    def tell() -> None:
        if job.future.done():  # the one who waited has left
            return
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return
