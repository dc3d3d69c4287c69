"""The simulated endpoint is as long and as slow as asked, and needs only what the runtime's image has."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from demo import simulated_endpoint
from demo.simulated_endpoint import Answer, app

ROOT = Path(__file__).parents[3]


async def call(body: object, key: str = "", path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"body": body if isinstance(body, bytes) else json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode())]
    await app({"method": "POST", "path": path, "headers": headers}, receive, send)
    return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_endpoint, "SPEED", 1e6)
    monkeypatch.setattr(simulated_endpoint, "API_KEY", "key")


REQUEST = {"model": "m", "max_tokens": 40, "messages": [{"role": "user", "content": "x" * 400}]}


async def test_an_answer_has_the_asked_tokens_and_counts_the_prompts() -> None:
    status, body = await call(REQUEST, "key")
    answer = json.loads(body)
    assert status == 200
    assert answer["usage"] == {"prompt_tokens": 101, "completion_tokens": 40, "total_tokens": 141}
    assert answer["choices"][0]["message"]["content"].split() == ["lorem"] * 40


async def test_a_stream_carries_the_same_answer_and_the_usage_on_demand() -> None:
    status, body = await call(REQUEST | {"stream": True, "stream_options": {"include_usage": True}}, "key")
    assert status == 200
    frames = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert frames[-1] == "[DONE]"
    chunks = [json.loads(frame) for frame in frames[:-1]]
    assert chunks[-1]["usage"]["completion_tokens"] == 40
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text.split() == ["lorem"] * 40


async def test_a_wrong_key_and_a_broken_request_are_refused_as_openai_would() -> None:
    status, body = await call(REQUEST, "other")
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
    for broken in (b"{", b"[]", {"model": "m"}):
        status, body = await call(broken, "key")
        assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_request")


async def test_texts_of_the_same_words_have_the_same_vector_and_others_have_not() -> None:
    texts = ["Reset my password, please!", "please reset my password", "what are your opening hours"]
    status, body = await call({"model": "e", "input": texts}, "key", "/v1/embeddings")
    answer = json.loads(body)
    first, same, other = (one["embedding"] for one in answer["data"])
    assert status == 200 and first == same
    assert sum(a * b for a, b in zip(first, other, strict=True)) < 0.5 * sum(a * a for a in first)
    assert answer["usage"] == {"prompt_tokens": 21, "total_tokens": 21}
    assert (
        json.loads((await call({"model": "e", "input": texts[0]}, "key", "/v1/embeddings"))[1])["data"][0]
        == (answer["data"][0])
    )
    assert (await call({"model": "e", "input": texts}, "other", "/v1/embeddings"))[0] == 401
    assert (await call({"model": "e"}, "key", "/v1/embeddings"))[0] == 400


def test_the_time_of_an_answer_is_the_documented_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_endpoint, "SPEED", 2.0)
    answer = Answer("id", "m", prompt_tokens=4000, completion_tokens=100, finish_reason="stop")
    assert answer.head_s + answer.tail_s == pytest.approx((0.5 + 1.0 + 3.0) / 2)


def test_the_script_imports_nothing_the_runtimes_image_lacks() -> None:
    tree = ast.parse((ROOT / "demo" / "simulated_endpoint.py").read_text(encoding="utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    foreign = {str(name).split(".")[0] for name in names} - set(sys.stdlib_module_names)
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE))
    assert foreign <= locked
