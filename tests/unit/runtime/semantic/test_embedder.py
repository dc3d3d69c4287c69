"""Texts become vectors in a thread of their own; the event loop goes on."""

import asyncio
import threading

import numpy as np
import pytest

from agent_runtime.semantic.embedder import Embedder, Encoder


class Counting:
    """An encoder that notes its batches and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def encode_all(self, texts):
        self.begun.set()
        self.go.wait(30)
        self.batches.append(list(texts))
        if "bad" in texts:
            raise ValueError("cannot encode")
        return np.stack([np.full(384, float(len(text)), np.float32) for text in texts])


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
async def embedder(counting):
    made = Embedder(counting, cache_bytes=10_000)
    yield made
    counting.go.set()
    await asyncio.to_thread(made.close)


async def test_texts_that_come_while_a_batch_is_made_go_together(embedder, counting):
    counting.go.clear()
    first = asyncio.create_task(embedder.embed("a"))
    await asyncio.to_thread(counting.begun.wait, 30)
    others = [asyncio.create_task(embedder.embed("b" * size)) for size in range(2, 22)]
    ticks = 0
    for _ in range(20):
        await asyncio.sleep(0.001)
        ticks += 1
    counting.go.set()
    vectors = await asyncio.gather(first, *others)
    assert ticks == 20
    assert [vector[0] for vector in vectors] == [1.0, *range(2, 22)]
    assert [len(batch) for batch in counting.batches] == [1, 20]


async def test_a_short_question_does_not_wait_for_many_long_texts(embedder, counting):
    counting.go.clear()
    first = asyncio.create_task(embedder.embed("a"))
    await asyncio.to_thread(counting.begun.wait, 30)
    long = [asyncio.create_task(embedder.embed(letter * 3000)) for letter in "bcdef"]
    await asyncio.sleep(0)
    counting.go.set()
    await asyncio.gather(first, *long)
    assert [len(batch) for batch in counting.batches] == [1, 2, 2, 1]


async def test_a_text_seen_before_is_not_computed_again(embedder, counting):
    for _ in range(3):
        assert (await embedder.embed("twice"))[0] == 5
    assert counting.batches == [["twice"]]


async def test_the_cache_keeps_within_its_bytes_and_drops_the_oldest(embedder, counting):
    for size in range(1, 11):
        await embedder.embed("x" * size)
    assert embedder.cached_bytes <= 10_000
    await embedder.embed("x" * 10)
    assert len(counting.batches) == 10
    await embedder.embed("x")
    assert len(counting.batches) == 11


async def test_a_failure_reaches_those_who_wait_and_nobody_later(embedder):
    with pytest.raises(ValueError, match="cannot encode"):
        await embedder.embed("bad")
    assert (await embedder.embed("good"))[0] == 4


async def test_a_failure_after_embedding_reaches_its_caller_only(embedder):
    with pytest.raises(ZeroDivisionError):
        await embedder.run(["a"], lambda _: 1 / 0)
    assert await embedder.run(["a", "bb"], len) == 2


async def test_who_leaves_early_disturbs_nobody(embedder, counting):
    counting.go.clear()
    leaving = asyncio.create_task(embedder.embed("leaving"))
    staying = asyncio.create_task(embedder.embed("staying"))
    await asyncio.sleep(0.02)
    unexpected = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
    leaving.cancel()
    counting.go.set()
    assert (await staying)[0] == 7
    assert unexpected == []


async def test_the_event_loop_runs_on_while_the_real_encoder_computes(encoder_dir):
    embedder = Embedder(Encoder(encoder_dir), cache_bytes=0)
    texts = [f"what are your opening hours today {number} " * 60 for number in range(256)]
    embedding = asyncio.create_task(embedder.run(texts, lambda vectors: len(vectors)))
    ticks = 0
    while not embedding.done():
        await asyncio.sleep(0)
        ticks += 1
    assert (await embedding, ticks > 100) == (256, True), ticks
    await asyncio.to_thread(embedder.close)


async def test_cached_vectors_are_let_go_for_their_memory(embedder, counting):
    await embedder.embed("a")
    await embedder.forget_cached()
    assert embedder.cached_bytes == 0
    await embedder.embed("a")
    assert counting.batches == [["a"], ["a"]]


def test_the_real_encoder_gives_unit_vectors_in_the_order_of_the_texts(encoder_dir):
    encoder = Encoder(encoder_dir)
    texts = ["how do i reset my password", "hours", "what are your opening hours today " * 60]
    vectors = encoder.encode_all(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[1], encoder.encode(["hours"])[0], atol=1e-5)
    assert vectors[0] @ encoder.encode(["reset my password"])[0] > vectors[0] @ vectors[1]


def test_a_folder_without_a_model_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="make encoder"):
        Encoder(tmp_path)
