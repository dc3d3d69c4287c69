"""Where is a model served, and what must be said there? Frozen values from the settings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from yarl import URL

from agentpool_api.upstreams import Model, ModelEndpoint

PATHS = {"chat": "chat/completions", "embeddings": "embeddings", "responses": "responses"}
"""Path of each operation below an endpoint's base URL."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place that serves a model."""

    number: int
    """Place among all endpoints of all models: the key of its credential, its price, its circuit and its metrics."""
    name: str
    """What the callers learn of it: told apart within its model; empty where the model has but one place."""
    account: str
    """Digest of where, and with which key, it keeps what it made: the same in every agent, whatever the order."""
    model: str
    """Name the callers use."""
    upstream_model: str
    """Name the endpoint uses."""
    host: str
    """Host and port."""
    label: str
    """Host and port, told apart where a model names the same twice: the label of metrics."""
    url: URL
    server_name: str | None
    """Name its certificate must show; None: the URL's host."""
    certificate: str | None
    """Secret with the certificate it is shown; None: none is."""
    priority: int
    weight: int
    url_field: str
    """Path of the setting that holds its URL."""
    key_field: str
    """Path of the setting that names its credential."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something an endpoint keeps, and what is to be done with it."""

    method: str
    path: str
    """Below the endpoint's URL, percent-encoded, with its query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A model and every place that serves it."""

    model: str
    kind: str
    endpoints: tuple[Endpoint, ...]
    scope: bytes
    """What sets this model's answers apart in the cache: its endpoints, in any order, and their names for it."""

    def kept_at(self, account: str) -> Route:
        """The route to the endpoint that has what it made under this account; all of it where none is known."""
        place = next((at for at in self.endpoints if at.account == account), None)
        return self if place is None else replace(self, endpoints=(place,))


def make_routes(models: Sequence[Model], field_prefix: str = "") -> list[Route]:
    """The routes of all models; endpoints are numbered through. ``field_prefix``: where ``models`` stands."""
    routes: list[Route] = []
    first = 0
    for index, model in enumerate(models):
        routes.append(_route(f"{field_prefix}models[{index}]", model, first))
        first += len(model.served_by)
    return routes


def _route(path: str, model: Model, first: int) -> Route:
    made: list[Endpoint] = []
    bases: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    for place, at in enumerate(model.served_by):
        base = at.url.rstrip("/")
        url = URL(f"{base}/{PATHS[model.kind]}")
        name = at.upstream_model or model.upstream_model or model.name
        host = f"{url.host}:{url.port}"
        seen[host] += 1
        field = path if model.endpoints is None else f"{path}.endpoints[{place}]"
        bases.append((base, name))
        made.append(
            Endpoint(
                number=first + place,
                name="" if model.endpoints is None else at.name or str(place),
                account=_account(base, at),
                model=model.name,
                upstream_model=name,
                host=host,
                label=host if seen[host] == 1 else f"{host}#{seen[host]}",
                url=url,
                server_name=at.tls_server_name,
                certificate=at.client_certificate_secret_name,
                priority=at.priority,
                weight=at.weight,
                url_field=f"{field}.endpoint" if model.endpoints is None else f"{field}.url",
                key_field=f"{field}.apiKeySecretRef",
            )
        )
    scope = "\n".join((model.kind, *(part for pair in sorted(bases) for part in pair))).encode()
    return Route(model=model.name, kind=model.kind, endpoints=tuple(made), scope=scope)


def _account(base: str, at: ModelEndpoint) -> str:
    ref = at.api_key_secret_ref
    key = at.api_key_env if ref is None else f"{ref.name}/{ref.key}"
    return hashlib.sha256(f"{base}\n{key}".encode()).hexdigest()[:16]


def operations_of(route: Route) -> list[Route]:
    """The route once for each operation it serves: a chat model answers the Responses API too."""
    if route.kind != "chat":
        return [route]
    places = tuple(
        replace(place, url=URL(f"{str(place.url).removesuffix(PATHS['chat'])}{PATHS['responses']}"))
        for place in route.endpoints
    )
    return [route, replace(route, kind="responses", endpoints=places)]


def batch_route(route: Route) -> Route:
    """The route of a chat model's batches."""
    places = tuple(
        replace(place, url=URL(f"{str(place.url).removesuffix(PATHS['chat'])}batch")) for place in route.endpoints
    )
    return replace(route, kind="batch", endpoints=places)


def rewrite(body: bytes, changes: dict[str, object]) -> bytes:
    """The same JSON object with these top-level fields set; every other value stays as the caller wrote it.

    Of a name that stands in it twice the last value is left, the one this runtime has read: an endpoint that reads the
    first would do something else than what was checked, counted and stored.
    """
    fields = _FIELDS.decode(body)
    for name, value in changes.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
