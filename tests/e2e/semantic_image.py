"""A pool whose semantic cache compares by meaning gets the image with the encoder and knows a question in other words.

Not collected by itself, since the image takes a minute to build and 490 MB:
``.venv/bin/python -m pytest -s tests/e2e/semantic_image.py``.
"""

from __future__ import annotations

from typing import Any

import pytest

from cluster.images import IMAGES, SEMANTIC
from cluster.load import build_and_load
from cluster.paths import state_dir
from demo.cluster_setup import Kubectl, install_release
from tests.e2e.conftest import CLUSTER
from tests.e2e.place import Place, pool

KNOWN = ["How do I change the PIN of my card?", "How can I change my card's PIN?"]
SAME = ["How do I change my card's PIN?", "How can I change the PIN of my card?", "How to change my card's PIN?"]
OTHER = "How do I change the PIN of my 2 cards?"


@pytest.fixture
def with_encoder(kubectl: Kubectl) -> None:
    install_release(kubectl, build_and_load(CLUSTER, state_dir(CLUSTER), (*IMAGES, SEMANTIC)))


@pytest.mark.timeout(600)
def test_a_question_in_other_words_is_answered_without_the_model(with_encoder: None, place: Place) -> None:
    manifest = pool(minAgents=1, maxAgents=1)
    manifest["spec"]["runtime"]["cache"] = {"semantic": {"enabled": True}}
    place.apply(manifest)
    place.wait("agentpool", "assistants", "Ready", timeout_s=120)
    create: Any = place.openai().chat.completions.with_raw_response.create

    def came_from(text: str) -> str:
        asked = {"model": "small-model", "temperature": 0}
        answer = create(**asked, messages=[{"role": "user", "content": text}])
        return str(answer.headers["x-agentpool-cache"])

    for text in KNOWN:
        print(f"{text}: {came_from(text)}")
    seen = [came_from(text) for text in SAME]
    print(dict(zip(SAME, seen, strict=True)))
    assert "semantic" in seen  # a small share of the hits asks the model all the same, to learn
    assert came_from(OTHER) == "miss"
