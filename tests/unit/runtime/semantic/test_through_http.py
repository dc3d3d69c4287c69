"""A caller of the running runtime gets answers to questions asked before in other words, and can see and undo it."""

import asyncio
import json
from contextlib import asynccontextmanager
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web

from agent_runtime.app import App
from agent_runtime.errors import RuntimeSetupError
from agent_runtime.settings import load_process, parse_settings

PARAPHRASE = {"role": "user", "content": "how can i reset my password please"}


class Model:
    """An endpoint that answers by subject and counts its calls."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.version = 1

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        question = body["messages"][-1]["content"]
        self.questions.append(question)
        subject = "hours" if "hours" in question or "open" in question else "password"
        message = {"role": "assistant", "content": f"All about {subject} in edition {self.version}."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A machine at work elsewhere may hold the encoder up for longer than a caller of the product should wait."""
    monkeypatch.setattr("agent_runtime.pipeline.paraphrases.PATIENCE_S", 10.0)


@asynccontextmanager
async def running(encoder_dir, chance=0.99, cache=None, **semantic):
    """A runtime, its endpoint, and a client. ``chance`` decides whether a hit is given up to learn."""
    model = Model()
    upstream = web.Application()
    upstream.router.add_post("/v1/chat/completions", model.answer)
    runner = web.AppRunner(upstream)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    settings = parse_settings(
        {
            "models": [{"name": "m", "endpoint": f"http://127.0.0.1:{port}/v1"}],
            "cache": {"semantic": {"enabled": True} | semantic} | (cache or {}),
        },
        refuse_unknown=True,
    )
    environ = {"AGENTPOOL_API_KEY": "one", "AGENTPOOL_PORT": "0", "AGENTPOOL_ENCODER_DIR": str(encoder_dir)}
    try:
        with patch("agent_runtime.caching.random.random", return_value=chance):
            app = App(settings, load_process(environ), environ)
        await app.start()
        url, headers = f"http://127.0.0.1:{app.server.port}", {"Authorization": "Bearer one"}
        try:
            async with aiohttp.ClientSession(url, headers=headers) as client:
                yield model, Client(client)
        finally:
            await app.drain()
    finally:
        await runner.cleanup()


class Client:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, question: str, **fields) -> tuple[str, str]:
        """What the cache did, and the text of the answer."""
        body = {"model": "m", "messages": [{"role": "user", "content": question}]} | fields
        async with self.session.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200, await reply.text()
            if not fields.get("stream"):
                text = (await reply.json())["choices"][0]["message"]["content"]
            else:
                lines = [line[6:] for line in (await reply.text()).splitlines() if line.startswith("data: {")]
                deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
                text = "".join(delta.get("content") or "" for delta in deltas)
            status = reply.headers["cache-status"]
            assert ("hit" in status) == (reply.headers["x-agentpool-cache"] in ("l1", "semantic", "precomputed"))
            return reply.headers["x-agentpool-cache"], text

    async def post(self, path: str, body: object) -> tuple[int, dict]:
        async with self.session.post(path, json=body) as reply:
            return reply.status, await reply.json()

    async def metric(self, line: str) -> float:
        async with self.session.get("/metrics") as reply:
            found = [row for row in (await reply.text()).splitlines() if row.startswith(line + " ")]
            return float(found[0].rpartition(" ")[2]) if found else 0.0

    async def known(self, count: int) -> None:
        """Wait until so many questions are learned."""
        async with asyncio.timeout(15):
            while await self.metric("agentpool_runtime_semantic_questions") != count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def taught(client: Client) -> None:
    """Three questions asked upstream: two about passwords, one about opening hours."""
    for number, question in enumerate(
        ["how do i reset my password", "please can you reset my password", "what are your opening hours"], start=1
    ):
        assert (await client.ask(question))[0] == "miss"
        await client.known(number)


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
