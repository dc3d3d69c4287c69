"""The official SDK as the judge."""

import openai
import pytest

from tests.redis.runtime_app.conftest import KEY, Runtime, Start, settings_for
from tests.redis.runtime_app.upstream import Call, Upstream, answer

HI = [{"role": "user", "content": "hi"}]


def client(runtime: Runtime, **options) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=runtime.url, api_key=KEY, **options)


async def test_plain_answers(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        done = await sdk.chat.completions.create(model="chat", messages=HI)
    assert done.choices[0].message.content == "hello"
    assert done.usage is not None and done.usage.completion_tokens == 4


@pytest.mark.parametrize("include_usage", [True, False])
async def test_streams_fresh_and_replayed(runtime: Runtime, include_usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    async with client(runtime) as sdk:
        for _ in range(2):
            stream = await sdk.chat.completions.create(model="chat", messages=HI, stream=True, **options)
            chunks = [chunk async for chunk in stream]
            text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
            assert text == "hello"
            assert bool(chunks[-1].usage) is include_usage


async def test_the_end_of_a_stream_tells_its_cost_beside_the_tokens_where_it_is_known(
    start: Start, upstream: Upstream
) -> None:
    settings = settings_for(upstream.url)
    del settings["models"][0]["price"]
    told = []
    for runtime in (await start(), await start(settings)):
        async with client(runtime) as sdk:
            for _ in range(2):
                options = {"stream_options": {"include_usage": True}}
                stream = await sdk.chat.completions.create(model="chat", messages=HI, stream=True, **options)
                usage = [chunk async for chunk in stream][-1].usage
                told.append((usage.total_tokens, (usage.model_extra or {}).get("cost_nanousd")))
    assert told == [(14, 52_000), (14, 0), (14, None), (14, 0)]


async def test_embeddings(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        done = await sdk.embeddings.create(model="embed", input="hi", encoding_format="float")
    assert done.data[0].embedding == [0.5, 0.25]


async def test_models(runtime: Runtime) -> None:
    async with client(runtime) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["chat", "embed"]


async def test_errors_have_their_classes(runtime: Runtime) -> None:
    async with client(runtime, max_retries=0) as sdk:
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk.chat.completions.create(model="nope", messages=HI)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.BadRequestError):
            await sdk.chat.completions.create(model="chat", messages=[])
    async with openai.AsyncOpenAI(base_url=runtime.url, api_key="sk-wrong") as sdk:
        with pytest.raises(openai.AuthenticationError) as refused:
            await sdk.chat.completions.create(model="chat", messages=HI)
        assert refused.value.code == "invalid_api_key"


async def test_the_sdk_does_not_repeat_what_the_runtime_has_repeated(start: Start, upstream: Upstream) -> None:
    runtime = await start(settings_for(upstream.url, connections={"retries": 1}))

    async def broken(call: Call) -> None:
        await answer(call, 500, b"", extra="Connection: close\r\n")

    upstream.script = broken
    async with client(runtime, max_retries=2) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model="chat", messages=HI)
    assert len(upstream.calls) == 2


async def test_a_stream_that_breaks_raises_in_the_sdk(runtime: Runtime, upstream: Upstream) -> None:
    from tests.redis.runtime_app.test_failures import STREAM, breaking

    upstream.script = breaking(STREAM[:2], clean=False)
    async with client(runtime) as sdk:
        stream = await sdk.chat.completions.create(model="chat", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="closed the connection"):
            async for _ in stream:
                pass
