"""What is an answer booked as? Turns usage into money, metrics and a record for the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agent_runtime.budget.pricing import Price
from agent_runtime.budget.settlement import Charge, Settlement
from agent_runtime.cache.entry import Entry
from agent_runtime.models.endpoints import Endpoint
from agent_runtime.requests import Request
from agent_runtime.telemetry.instruments import Instruments
from agent_runtime.usage import Usage


class Accounts:
    """Books answers of one process."""

    def __init__(
        self,
        prices: Mapping[str, Price | None],
        endpoint_prices: Sequence[Price | None],
        settlement: Settlement | None,
        instruments: Instruments,
        *,
        pool: str,
        pod: str,
        unix_time: Callable[[], float],
    ) -> None:
        self._prices = prices
        self._endpoint_prices = endpoint_prices
        self._settlement = settlement
        self._instruments = instruments
        self._pool = pool
        self._pod = pod
        self._unix_time = unix_time

    def cost_of(self, model: str, usage: Usage) -> int | None:
        """Cost of an answer by a model; None when nobody knows its price."""
        price = self._prices[model]
        return price.cost_nanousd(usage) if price is not None else None

    def cost_at(self, endpoint: Endpoint, usage: Usage) -> int | None:
        """Cost of an answer by an endpoint; None when nobody knows its price."""
        price = self._endpoint_prices[endpoint.number]
        return price.cost_nanousd(usage) if price is not None else None

    def book_call(
        self, request: Request, usage: Usage, endpoint: Endpoint | None, *, discount_percent: int = 0
    ) -> int | None:
        """Book an answer the endpoint made; its cost, or None when nobody knows the price.

        ``endpoint`` is None where it is not known which one it was: then the model's price counts.
        ``discount_percent`` is taken off the price, rounded in the endpoint's favour.
        """
        full = self.cost_of(request.model, usage) if endpoint is None else self.cost_at(endpoint, usage)
        cost = None if full is None else full - full * discount_percent // 100
        if full is not None and cost is not None and cost < full:
            self._instruments.batch_saved(request.model, full - cost)
        self._instruments.used(request.model, usage, cost or 0)
        if cost is None:
            self._instruments.unpriced.labels(request.model).inc()
        elif request.instead_of is not None:
            self._instruments.right_sizing_saved(
                request.model, (self.cost_of(request.instead_of, usage) or cost) - cost
            )
        self._settle(request, usage, cost=cost or 0, saved=0, cache="", priced=cost is not None)
        return cost

    def book_saving(self, request: Request, entry: Entry, cache: str) -> None:
        """Book an answer that cost nothing because it was there already."""
        self._instruments.saved(request.model, entry.cost_nanousd)
        self._settle(request, entry.usage, cost=0, saved=entry.cost_nanousd, cache=cache, priced=True)

    def _settle(self, request: Request, usage: Usage, *, cost: int, saved: int, cache: str, priced: bool) -> None:
        if self._settlement is not None:
            self._settlement.add(
                Charge(
                    request_id=request.request_id,
                    at_s=self._unix_time(),
                    pool=self._pool,
                    pod=self._pod,
                    model=request.model,
                    input_tokens=usage.input_tokens,
                    cached_input_tokens=usage.cached_input_tokens,
                    output_tokens=usage.output_tokens,
                    cost_nanousd=cost,
                    saved_nanousd=saved,
                    cache=cache,
                    priced=priced,
                    estimated=usage.estimated,
                )
            )
