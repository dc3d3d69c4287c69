"""Which image runs in a pool's agents?"""

from dataclasses import replace
from typing import Any

import pytest

from agentpool_operator.errors import ManifestRefusedError
from agentpool_operator.manifests.pod_template import make_pod_template
from agentpool_operator.manifests.values import ON_DEMAND
from agentpool_operator.settings import RuntimeImage
from tests.unit.operator.make import MODEL, values

BOTH = RuntimeImage(image="lean:1", semantic_image="with-encoder:1")


def image(runtime: RuntimeImage, **cache: Any) -> str:
    pool = replace(values(runtime={"models": [MODEL], "cache": cache}), runtime=runtime)
    found: str = make_pod_template(pool, ON_DEMAND)["spec"]["containers"][0]["image"]
    return found


def test_a_pool_that_compares_by_meaning_gets_the_image_with_the_encoder() -> None:
    assert image(BOTH, semantic={"enabled": True}) == "with-encoder:1"


EMBEDDER = {"enabled": True, "embedder": {"model": "embed"}}


@pytest.mark.parametrize("semantic", [{}, {"enabled": True, "match": "Fuzzy"}, EMBEDDER])
def test_every_other_pool_gets_the_lean_one(semantic: dict[str, Any]) -> None:
    assert image(BOTH, semantic=semantic) == "lean:1"
    assert image(RuntimeImage(image="lean:1"), semantic=semantic) == "lean:1"


def test_more_questions_than_are_searched_one_by_one_need_the_image_with_the_library() -> None:
    assert image(BOTH, semantic=EMBEDDER | {"maxEntries": 10_001}) == "with-encoder:1"


def test_without_such_an_image_the_pool_says_what_to_set() -> None:
    with pytest.raises(ManifestRefusedError, match=r"images\.semantic\.repository") as refused:
        image(RuntimeImage(image="lean:1"), semantic={"enabled": True})
    assert refused.value.reason == "SemanticImageMissing"
