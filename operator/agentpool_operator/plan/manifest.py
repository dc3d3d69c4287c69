"""Which pool does a manifest describe, and is it one the API server would take?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from agentpool_api.agentpool import AgentPoolSpec
from agentpool_api.quantity import duration_s
from agentpool_api.schema import ApiModel
from agentpool_operator.decide.policy import ScalingPolicy
from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.plan.errors import PlanInputError, read_text
from agentpool_operator.reconcile.policies import scaling_policy


def read_pool(path: Path) -> tuple[str, AgentPoolSpec, ScalingPolicy]:
    """Name, spec and scaling policy of the one AgentPool in a YAML file. Raises PlanInputError."""
    return parse_pool(read_text(path), str(path))


def parse_pool(text: str, path: str) -> tuple[str, AgentPoolSpec, ScalingPolicy]:
    """Name, spec and scaling policy of the one AgentPool in a text from `path`; other kinds beside it are ignored.

    Raises PlanInputError with the field and what to change.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise PlanInputError(f"{path}{where}: not YAML ({getattr(error, 'problem', None) or error})") from None
    pools = [
        document for document in documents if isinstance(document, Mapping) and document.get("kind") == "AgentPool"
    ]
    if len(pools) != 1:
        raise PlanInputError(f"{path}: holds {len(pools)} resources of kind AgentPool: a plan takes exactly one")
    metadata, spec = pools[0].get("metadata"), pools[0].get("spec")
    if not isinstance(spec, Mapping):
        raise PlanInputError(f"{path}: the AgentPool has no spec")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    valid = _valid(path, spec)
    try:
        return str(name or Path(path).stem), valid, scaling_policy(valid)
    except ManifestRefusedError as error:
        raise PlanInputError(f"{path}: {error}") from None


def _valid(path: str, spec: Mapping[str, object]) -> AgentPoolSpec:
    try:
        parsed = AgentPoolSpec.model_validate(spec)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in ("spec", *first["loc"]))
        raise PlanInputError(f"{path}: {field}: {first['msg']}, not {first['input']!r}") from None
    for field in unknown_fields(spec, parsed, "spec"):
        raise PlanInputError(f"{path}: {field}: no such field: check its spelling")
    for message in contradictions(parsed):
        raise PlanInputError(f"{path}: spec: {message}")
    return parsed


def unknown_fields(raw: Mapping[str, object], parsed: ApiModel, at: str) -> Iterator[str]:
    """Fields the models do not know: most likely misspelt, and the plan would silently use the default."""
    names = {field.alias or name: name for name, field in type(parsed).model_fields.items()}
    for key, value in raw.items():
        if key not in names:
            yield f"{at}.{key}"
            continue
        inner = getattr(parsed, names[key])
        pairs = (
            zip(value, inner, strict=True) if isinstance(value, list) and isinstance(inner, list) else [(value, inner)]
        )
        for part, model in pairs:
            if isinstance(part, Mapping) and isinstance(model, ApiModel):
                yield from unknown_fields(part, model, f"{at}.{key}")


def contradictions(spec: AgentPoolSpec) -> list[str]:
    """What the API server's rules would refuse, as far as it matters to the size of a pool."""
    threshold, warm = spec.scaling.threshold, spec.warm_agents
    share = isinstance(warm, str)
    rules = (
        (spec.min_agents > spec.max_agents, "minAgents (2 unless set) is above maxAgents: lower it or raise maxAgents"),
        (
            re.fullmatch(r"(100|[1-9]?[0-9])%", warm) is None if isinstance(warm, str) else warm < 0,
            "warmAgents is neither a count nor a share: write it like 3 or 10%",
        ),
        (
            not share and int(warm) > spec.max_agents,
            "warmAgents (3 unless set) is above maxAgents: lower it or raise maxAgents",
        ),
        (
            spec.spot.on_demand_base > spec.max_agents,
            "spot.onDemandBase is above maxAgents: lower it or raise maxAgents",
        ),
        (
            threshold.scale_down_percent >= threshold.scale_up_percent,
            "scaling.threshold.scaleDownPercent must be below scaleUpPercent: lower the one or raise the other",
        ),
        (duration_s(spec.scaling.target_wait) <= 0, "scaling.targetWait is no time: set at least 100ms"),
        (
            spec.scaling.policy == "External",
            "scaling.policy External leaves the size to others: name Forecast or Threshold, and the plan shows theirs",
        ),
        (spec.replicas is not None, "replicas fixes the size: remove it, and the plan shows what scaling would do"),
    )
    return [message for broken, message in rules if broken] + [
        f"the bounds of schedule {schedule.name} contradict each other or the pool's: set minAgents and maxAgents in it"
        for schedule in spec.scaling.schedules
        if (spec.min_agents if schedule.min_agents is None else schedule.min_agents)
        > (spec.max_agents if schedule.max_agents is None else schedule.max_agents)
    ]
