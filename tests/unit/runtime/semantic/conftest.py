"""A small encoder with the real graph: one layer that passes words on, so that a sentence is the mean of its words."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from agent_runtime.semantic.convert import build_model

WORDS = str.split(
    "[UNK] how do i reset my password please can you the a to of what is are opening hours your shop when open"
    " forgot change transfer money fee cost much does weather today 5 50 usd not"
)


def bert(layers: int, width: int, inner: int, words: int, positions: int, seed: int) -> dict[str, np.ndarray]:
    """Random weights under the names of a BERT checkpoint."""
    chance = np.random.default_rng(seed)

    def some(*shape: int, scale: float = 0.3) -> np.ndarray:
        return chance.normal(0, scale, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": some(words, width),
        "embeddings.position_embeddings.weight": some(positions, width, scale=0.02),
        "embeddings.token_type_embeddings.weight": some(2, width, scale=0.02),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        dense = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (width, width)}
        dense |= {"intermediate.dense": (inner, width), "output.dense": (width, inner)}
        for name, shape in dense.items():
            weights[f"{prefix}{name}.weight"] = some(*shape)
            weights[f"{prefix}{name}.bias"] = some(shape[0])
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
    for name in norms:
        weights[name + ".weight"] = 1 + some(width, scale=0.1)
        weights[name + ".bias"] = some(width, scale=0.1)
    return weights


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    weights = bert(1, 384, 24, len(WORDS), 300, seed=7)
    for name, value in weights.items():
        if "encoder.layer" in name and "LayerNorm" not in name:
            value *= 0.01
        elif "LayerNorm.bias" in name:
            value *= 0
    (folder / "model.onnx").write_bytes(build_model(weights, heads=12).SerializeToString())
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
