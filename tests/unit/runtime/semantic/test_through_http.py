"""A caller of the running runtime gets answers to questions asked before in other words, and can see and undo it."""

import pytest

from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import parse_settings
from tests.unit.runtime.semantic.serving import running, taught

PARAPHRASE = {"role": "user", "content": "how can i reset my password please"}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A machine at work elsewhere may hold the encoder up for longer than a caller of the product should wait."""
    monkeypatch.setattr("agent_runtime.semantic.embedder.PATIENCE_S", 10.0)


async def test_a_question_in_other_words_is_answered_without_the_model(encoder_dir):
    async with running(encoder_dir) as (model, client):
        await taught(client)
        asked = "how can i reset my password please"
        for fields in ({}, {"stream": True}):
            assert await client.ask(asked, **fields) == ("semantic", "All about password in edition 1.")
        assert len(model.questions) == 3
        assert await client.metric('agentpool_runtime_semantic_lookups_total{outcome="hit"}') == 2
        assert await client.metric("agentpool_runtime_semantic_bytes") > 3 * 384 * 4


async def test_a_share_of_the_hits_is_given_up_to_learn(encoder_dir):
    async with running(encoder_dir, chance=0.0) as (model, client):
        await taught(client)
        assert (await client.ask("how can i reset my password please"))[0] == "miss"
        assert len(model.questions) == 4
        assert await client.metric('agentpool_runtime_semantic_lookups_total{outcome="sampled"}') == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tools": [{"type": "function", "function": {"name": "f"}}]}, id="tools"),
        pytest.param({"temperature": 0.7}, id="chance asked for"),
        pytest.param({"seed": 4}, id="other parameters"),
        pytest.param({"messages": [{"role": "system", "content": "rhyme"}, PARAPHRASE]}, id="other instructions"),
    ],
)
async def test_what_may_change_the_answer_is_asked_upstream(encoder_dir, fields):
    async with running(encoder_dir) as (_, client):
        await taught(client)
        assert (await client.ask("how can i reset my password please", **fields))[0] in ("miss", "bypass")


async def test_the_pool_may_raise_the_bound_on_chance(encoder_dir):
    async with running(encoder_dir, cache={"maxTemperaturePercent": 70}) as (model, client):
        for number, question in enumerate(["how do i reset my password", "please can you reset my password"], start=1):
            assert (await client.ask(question, temperature=0.7))[0] == "miss"
            await client.known(number)
        assert (await client.ask("how do i reset my password", temperature=0.7))[0] == "l1"
        assert (await client.ask("how can i reset my password please", temperature=0.7))[0] == "semantic"
        assert (await client.ask("how do i reset my password", temperature=0.71))[0] == "bypass"
        assert len(model.questions) == 3


async def test_a_sample_is_repeated_only_for_exactly_the_same_request(encoder_dir):
    """Who sends max-age accepts a stored sample of the same request, not of another."""
    async with running(encoder_dir) as (_, client):
        await taught(client)
        client.session.headers["Cache-Control"] = "max-age=100"
        for question in ("how do i reset my password", "please can you reset my password"):
            assert (await client.ask(question, temperature=0.7))[0] == "miss"
        assert (await client.ask("how can i reset my password please", temperature=0.7))[0] == "miss"
        assert (await client.ask("how can i reset my password please"))[0] == "semantic"


async def test_no_cache_asks_the_model(encoder_dir):
    async with running(encoder_dir) as (_, client):
        await taught(client)
        client.session.headers["Cache-Control"] = "no-cache"
        assert (await client.ask("how can i reset my password please"))[0] == "miss"


async def test_a_statement_drops_the_answers_near_it(encoder_dir):
    async with running(encoder_dir) as (model, client):
        await taught(client)
        model.version = 2
        near = {"near": "password reset", "similarity": 0.4}
        assert await client.post("/v1/cache/forget", near) == (200, {"dropped": 2})
        assert await client.ask("how do i reset my password") == ("miss", "All about password in edition 2.")
        assert await client.ask("what are your opening hours") == ("l1", "All about hours in edition 1.")


@pytest.mark.parametrize(
    "body", [[], {}, {"near": " "}, {"near": "x", "similarity": 0}, {"near": "x", "similarity": True}]
)
async def test_a_wrong_statement_is_refused_with_the_field(encoder_dir, body):
    async with running(encoder_dir, match="Fuzzy") as (_, client):
        status, answer = await client.post("/v1/cache/forget", body)
        assert (status, answer["error"]["param"] in ("near", "similarity")) == (400, True)


async def test_the_fuzzy_mode_and_precomputed_answers_need_no_model(tmp_path):
    answer = "A team of people."
    prepared = [
        {"question": "who made you", "answer": answer},
        {"question": "where do you come from", "answer": answer},
    ]
    async with running(tmp_path, match="Fuzzy", answers=prepared) as (model, client):
        await client.ask("how do i reset my old password")
        assert (await client.ask("how do i reset my old password please"))[0] == "semantic"
        for question in ("who made you?", "Where do you come from"):
            assert await client.ask(question) == ("precomputed", answer)
        assert len(model.questions) == 1


async def test_the_domain_weighted_mode_counts_keywords(tmp_path):
    async with running(tmp_path, match="DomainWeighted", keywords=["Schema", "pipeline"]) as (_, client):
        await client.ask("please validate the schema now")
        assert (await client.ask("validate the schema"))[0] == "semantic"
        assert (await client.ask("validate the pipeline"))[0] == "miss"


async def test_without_its_encoder_the_runtime_says_what_to_change(tmp_path):
    with pytest.raises(RuntimeSetupError, match=r"cache\.semantic\.match: .*AGENTPOOL_ENCODER_DIR"):
        async with running(tmp_path):
            pass


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ({"enabled": False, "semantic": {"enabled": True}}, r"cache\.enabled"),
        ({"semantic": {"enabled": True, "match": "DomainWeighted"}}, r"cache\.semantic\.keywords"),
        ({"semantic": {"maxWrongPerMille": 0}}, r"cache\.semantic\.maxWrongPerMille"),
    ],
)
def test_settings_that_cannot_work_are_refused(cache, message):
    with pytest.raises(RuntimeSetupError, match=message):
        parse_settings({"cache": cache}, refuse_unknown=True)
