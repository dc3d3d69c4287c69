from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.budget.pricing import Catalogued, Rates, own_rates, price_models
from agent_runtime.models.answers import NotJson, read_answer
from agent_runtime.usage import Usage, estimate, usage_from
from agentpool_api.upstreams import Model, ModelPrice

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_the_endpoints_count_rules() -> None:
    block = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    assert usage_from({"usage": block}) == Usage(10, 6, 4)


def test_a_stated_zero_stays_zero() -> None:
    assert usage_from({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}) == Usage(0, 0, 0)


@pytest.mark.parametrize(
    "block",
    [
        None,
        [],
        {},
        {"prompt_tokens": None},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 10**18, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": -1},
    ],
)
def test_nonsense_is_no_usage(block: object) -> None:
    assert usage_from({"usage": block}) is None


def test_more_cached_than_input_tokens_is_capped() -> None:
    block = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    assert usage_from({"usage": block}) == Usage(3, 3, 1)


def test_an_estimate_says_so() -> None:
    fields = {"messages": [{"role": "user", "content": "x" * 396}]}
    assert estimate(fields, 40) == Usage(100, 0, 10, estimated=True)


@pytest.mark.parametrize(
    ("body", "usage", "finished"),
    [
        (b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}', (1, 0, 2), True),
        (b'{"choices":[{"finish_reason":null}]}', None, False),
        (b'{"choices":[]}', None, False),
        (b'{"choices":"x"}', None, False),
        (b'{"choices":[{"finish_reason":"stop"}],"error":{}}', None, False),
        (b"[]", None, False),
    ],
)
def test_only_finished_answers_may_be_served_again(body: bytes, usage: tuple | None, finished: bool) -> None:
    found, ended = read_answer(body, "chat")
    assert (found and (found.input_tokens, found.cached_input_tokens, found.output_tokens), ended) == (usage, finished)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a":', b"\xff"])
def test_an_answer_that_is_no_json_is_told_apart(body: bytes) -> None:
    with pytest.raises(NotJson):
        read_answer(body, "chat")


def test_the_pools_own_price_is_exact() -> None:
    rates = own_rates(ModelPrice(input_per_million="2.50", output_per_million="10", cached_input_per_million="1.25"))
    assert rates.cost_nanousd(Usage(10_000, 8_000, 500)) == 20_000_000  # 0.020 USD


def test_cached_input_costs_as_much_as_input_when_no_price_says_otherwise() -> None:
    rates = own_rates(ModelPrice(input_per_million="1"))
    assert rates.cost_nanousd(Usage(1_000_000, 400_000, 0)) == 10**9


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**15))
def test_cost_is_a_whole_number_and_never_negative(tokens_in: int, tokens_out: int, rate: int) -> None:
    cost = Rates(rate, rate, rate).cost_nanousd(Usage(tokens_in, 0, tokens_out))
    assert isinstance(cost, int) and abs(cost * 10**6 - (tokens_in + tokens_out) * rate) <= 5 * 10**5


def test_the_catalogue_prices_a_model_without_a_price_of_its_own() -> None:
    models = [
        Model(name="mine", upstream_model="gpt-4o", endpoint="https://api.openai.com/v1"),
        Model(name="gpt-4o", endpoint="http://proxy.internal/v1"),
        Model(name="nobody-knows-this", endpoint="http://host/v1"),
    ]
    prices = price_models(models, NOW)
    for name in ("mine", "gpt-4o"):
        price = prices[name]
        assert price is not None and price.cost_nanousd(Usage(10_000, 8_000, 500)) == 20_000_000
    assert prices["nobody-knows-this"] is None


def test_a_price_in_tiers_is_counted_by_the_catalogue() -> None:
    price = price_models([Model(name="gemini-2.5-pro", endpoint="http://h/v1")], NOW)["gemini-2.5-pro"]
    assert isinstance(price, Catalogued)
    small, large = price.cost_nanousd(Usage(100_000, 0, 0)), price.cost_nanousd(Usage(300_000, 0, 0))
    assert large > 3 * small > 0
