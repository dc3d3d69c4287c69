"""What did an answer cost, in nano-USD? Integers from price and tokens.

The price of the pool's own settings goes first, an endpoint's before its model's, else the catalogue's (genai-prices,
loaded only when a model needs it).
A model without either is not free: its answers are marked as not priced.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from agent_runtime.telemetry.logs import log
from agent_runtime.usage import Usage
from agentpool_api.money import NANO_PER_USD, nanousd
from agentpool_api.upstreams import Model, ModelPrice

PER = 1_000_000
"""Prices are for a million tokens."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-USD for a million tokens."""

    input: int
    cached_input: int
    output: int

    def cost_nanousd(self, usage: Usage) -> int:
        """Cost of an answer, rounded half up to whole nano-USD."""
        fresh = usage.input_tokens - usage.cached_input_tokens
        total = fresh * self.input + usage.cached_input_tokens * self.cached_input + usage.output_tokens * self.output
        return (total + PER // 2) // PER


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A price of the catalogue that is more than rates: in tiers of context length, say."""

    price: Any

    def cost_nanousd(self, usage: Usage) -> int:
        """Cost of an answer by the catalogue's own rules."""
        from genai_prices import Usage as Counted

        counted = Counted(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            output_tokens=usage.output_tokens,
        )
        total: Decimal = self.price.calc_price(counted)["total_price"]
        return int((total * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


Price = Rates | Catalogued


def own_rates(price: ModelPrice) -> Rates:
    """Rates of a price in the settings."""
    cached = price.cached_input_per_million
    return Rates(
        nanousd(price.input_per_million),
        nanousd(cached if cached is not None else price.input_per_million),
        nanousd(price.output_per_million),
    )


def price_models(models: Sequence[Model], now: datetime) -> dict[str, Price | None]:
    """Price of each model by its name; None where nobody knows one.

    Where every endpoint has its own price and the model none, it is the first one's: for comparing models only.
    """
    prices: dict[str, Price | None] = {}
    for model in models:
        price = model.price
        if price is None and all(endpoint.price for endpoint in model.served_by):
            price = model.served_by[0].price
        prices[model.name] = own_rates(price) if price else catalogue_price(model, now)
    return prices


def price_endpoints(models: Sequence[Model], prices: Mapping[str, Price | None]) -> list[Price | None]:
    """Price of each endpoint, in the order of all models' endpoints: its own, else its model's of ``prices``."""
    return [own_rates(at.price) if at.price else prices[model.name] for model in models for at in model.served_by]


def catalogue_price(model: Model, now: datetime) -> Price | None:
    """The catalogue's price at this moment; None when it does not know the model."""
    from genai_prices import Usage as Counted
    from genai_prices import calc_price

    first = model.served_by[0]
    name = first.upstream_model or model.upstream_model or model.name
    counted = Counted(input_tokens=1, output_tokens=1)
    for url in (first.url, None):
        try:
            price = calc_price(counted, name, provider_api_url=url, genai_request_timestamp=now).model_price
        except (LookupError, ValueError):
            continue
        return _as_rates(price) or Catalogued(price)
    log(logging.WARNING, "no price known; set models[].price or its answers are not charged", model=model.name)
    return None


def _as_rates(price: Any) -> Rates | None:
    """Plain rates of a catalogue price; None when it has tiers or prices what we do not count."""
    given = {name: value for name, value in vars(price).items() if value is not None and name.endswith("_mtok")}
    plain = all(isinstance(value, Decimal) for value in given.values())
    if not plain or "input_mtok" not in given:
        return None
    rate = {name: int((value * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN)) for name, value in given.items()}
    return Rates(rate["input_mtok"], rate.get("cache_read_mtok", rate["input_mtok"]), rate.get("output_mtok", 0))
