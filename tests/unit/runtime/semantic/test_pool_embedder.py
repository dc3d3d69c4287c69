"""The semantic cache with an embeddings model of the pool in place of the encoder. The endpoint is simulated."""

from __future__ import annotations

import asyncio
from itertools import count

import orjson
import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import parse_settings
from tests.unit.runtime.semantic.serving import Client, Embeddings, running, taught

PARAPHRASE = "how can i reset my password please"
LOOKUPS = 'agentpool_runtime_semantic_lookups_total{outcome="%s"}'
VECTORS = 'agentpool_runtime_semantic_vectors_total{outcome="%s"}'


@pytest.fixture
async def embeddings() -> Embeddings:
    return Embeddings()


def with_model(folder, embeddings: Embeddings, timeout: str = "10s"):
    return running(folder, embeddings=embeddings, embedder={"model": "embed", "timeout": timeout})


def embedder_of(client: Client):
    return client.app.paraphrases._embedder


async def embed(client: Client, *texts: str):
    return await embedder_of(client).run(texts, lambda vectors: vectors)


async def test_a_question_in_other_words_is_found_without_an_encoder(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (model, client):
        await taught(client)
        assert await client.ask(PARAPHRASE) == ("semantic", "All about password in edition 1.")
        assert len(model.questions) == 3
        assert await client.metric(LOOKUPS % "hit") == 1
        assert await client.metric("agentpool_runtime_semantic_bytes") > 3 * embeddings.dimensions * 4


async def test_its_calls_are_booked_like_any_other(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        await embed(client, "one two three", "four")
        assert await client.metric('agentpool_runtime_tokens_total{direction="input",model="embed"}') == 14
        assert await client.metric('agentpool_runtime_cost_usd_total{model="embed"}') == pytest.approx(14e-6)


async def test_texts_go_together_the_same_once_and_known_ones_never(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        texts = [f"text {number}" for number in range(40)]
        await asyncio.gather(*(embed(client, text) for text in [*texts, *texts]))
        assert sorted(len(batch) for batch in embeddings.batches) == [8, 32]
        again = await embed(client, *texts)
        assert len(embeddings.batches) == 2
        assert [await client.metric(VECTORS % what) for what in ("embedded", "cached")] == [40, 40]
        alone = await embed(client, "text 7", "never seen")
        assert (again[7] == alone[0]).all()
        await embedder_of(client).forget_cached()
        await embed(client, "text 7")
        assert embeddings.batches[-1] == ["text 7"]


async def test_long_texts_are_cut_and_go_in_calls_of_their_own(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        await embed(client, "a question", "long " * 1000)
        assert sorted(len(text) for batch in embeddings.batches for text in batch) == [10, 2000]
        assert [len(batch) for batch in embeddings.batches] == [1, 1]


def vectors(*rows: object) -> bytes:
    return orjson.dumps({"data": [{"index": at, "embedding": row} for at, row in enumerate(rows)]})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, b'{"error": {"message": "broken"}}', id="it fails"),
        pytest.param(400, b'{"error": {"message": "no"}}', id="it refuses"),
        pytest.param(200, b"<html>", id="no JSON"),
        pytest.param(200, b'{"data": [{"index": 0, "embedding": [NaN]}]}', id="NaN"),
        pytest.param(200, b'{"data": [{"index": 0, "embedding": [1e999]}]}', id="infinite"),
        pytest.param(200, vectors([0.0, 0.0]), id="zero"),
        pytest.param(200, vectors([]), id="no dimension"),
        pytest.param(200, vectors("text"), id="no numbers"),
        pytest.param(200, vectors([None, 1]), id="a hole"),
        pytest.param(200, vectors([1.0], [1.0]), id="too many"),
        pytest.param(200, vectors(), id="none"),
        pytest.param(200, vectors([1.0] * 9000), id="too long"),
    ],
)
async def test_without_a_usable_vector_the_model_is_asked(tmp_path, embeddings, status, body):
    async with with_model(tmp_path, embeddings) as (_, client):
        await taught(client)
        embeddings.says = status, body
        assert await client.ask(PARAPHRASE) == ("miss", "All about password in edition 1.")
        assert await client.metric(LOOKUPS % "unavailable") == 1
        assert await client.metric(VECTORS % "failed") == 1
        embeddings.says = None
        assert (await client.ask("please how can i reset my password"))[0] == "semantic"


async def test_vectors_of_two_lengths_in_one_answer_are_refused(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        embeddings.says = 200, vectors([1.0], [1.0, 2.0])
        results = await asyncio.gather(embed(client, "one"), embed(client, "two"), return_exceptions=True)
        assert [str(result).partition(":")[0] for result in results] == ["embeddings of [1, 2] dimensions"] * 2


async def test_an_answer_waits_no_longer_than_the_timeout_and_after_late_calls_not_at_all(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings, timeout="50ms") as (model, client):
        embeddings.go.clear()  # it never answers while callers wait
        for number in count():
            assert (await client.ask(f"question number {number}"))[0] == "miss"
            if await client.metric(LOOKUPS % "unavailable"):
                break
            assert number < 50
        asked = len(embeddings.batches)
        assert asked >= 3  # so many calls in a row must be late
        assert await client.metric(LOOKUPS % "late") >= 3
        assert (await client.ask("yet another question"))[0] == "miss"
        assert len(embeddings.batches) == asked
        assert len(model.questions) == number + 2
        embeddings.go.set()


async def test_a_late_vector_serves_the_next_question(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        embedder_of(client).patience_s = 0.05
        embeddings.go.clear()
        assert (await client.ask("late question"))[0] == "miss"
        embeddings.go.set()
        await client.until(VECTORS % "embedded", 1)
        await embed(client, "late question")
        assert len(embeddings.batches) == 1


@pytest.mark.parametrize("change", [{"dimensions": 32}, {"model": "up-embed-2"}])
async def test_other_vectors_than_before_never_match_and_begin_anew(tmp_path, embeddings, change):
    async with with_model(tmp_path, embeddings) as (_, client):
        await taught(client)
        for name, value in change.items():
            setattr(embeddings, name, value)
        assert (await client.ask(PARAPHRASE))[0] == "miss"
        await client.known(1)
        assert await client.metric("agentpool_runtime_semantic_restarts_total") == 1
        assert (await client.ask("please tell me how can i reset the password"))[0] == "miss"
        await client.known(2)
        assert (await client.ask("please how can i reset my password"))[0] == "semantic"


async def test_what_was_asked_before_the_change_teaches_nothing_after_it(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        learned = client.app.paraphrases._learned
        (vector,) = await embed(client, "how do i reset my password")
        asked = learned.consult("scope", "how do i reset my password", vector, now_s=0.0, chance=0.5)
        embeddings.dimensions = 32
        await embed(client, "something else")
        learned.learn(asked, tenant="t", key="k", answer="a", answer_vector=None, expires_s=9.0)
        assert len(learned) == 0
        (vector,) = await embed(client, "how do i reset my password")
        assert len(vector) == 32  # not the one that was kept


async def test_when_nobody_can_tell_what_is_near_all_of_the_callers_questions_are_forgotten(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        await taught(client)
        embeddings.says = 500, b"{}"
        assert await client.post("/v1/cache/forget", {"near": "password reset"}) == (200, {"dropped": 3})
        assert await client.metric("agentpool_runtime_semantic_questions") == 0


async def test_an_answer_that_cannot_be_embedded_is_learned_by_its_text(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        for number, question in enumerate(["how do i reset my password", "please can you reset my password"], start=1):
            await embed(client, question)
            embeddings.says = 500, b"{}"
            assert (await client.ask(question))[0] == "miss"
            await client.known(number)
            embeddings.says = None
        assert (await client.ask(PARAPHRASE))[0] == "semantic"


async def test_a_runtime_that_ends_waits_for_no_vector_and_books_what_it_sent(tmp_path, embeddings):
    async with with_model(tmp_path, embeddings) as (_, client):
        embeddings.go.clear()
        waiting = asyncio.create_task(embed(client, "one two three four"))
        async with asyncio.timeout(25):
            await embeddings.asked.wait()
            await client.app.drain()
        embeddings.go.set()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], BaseException)
        tokens = client.app.instruments.registry.get_sample_value(
            "agentpool_runtime_tokens_total", {"model": "embed", "direction": "input"}
        )
        assert tokens == 5  # 18 characters, estimated


@pytest.mark.parametrize(
    ("embedder", "message"),
    [
        ({"model": "nobody"}, r"cache\.semantic\.embedder\.model: no embeddings model of that name"),
        ({"model": "chat"}, r"cache\.semantic\.embedder\.model: no embeddings model of that name"),
        ({}, r"cache\.semantic\.embedder\.model"),
        ({"model": "embed", "timeout": "0s"}, r"cache\.semantic\.embedder\.timeout must be above 0"),
        ({"model": "embed", "timeout": "11s"}, r"at most 10s"),
    ],
)
def test_an_embedder_that_cannot_work_is_refused(embedder, message):
    models = [
        {"name": "chat", "endpoint": "http://127.0.0.1:1/v1"},
        {"name": "embed", "kind": "embeddings", "endpoint": "http://127.0.0.1:1/v1"},
    ]
    with pytest.raises(RuntimeSetupError, match=message):
        parse_settings(
            {"models": models, "cache": {"semantic": {"enabled": True, "embedder": embedder}}}, refuse_unknown=True
        )
