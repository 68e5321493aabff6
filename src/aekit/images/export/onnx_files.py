"""Parts of a network as ONNX, and what ONNX Runtime computes with them."""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

import torch
from torch import Tensor

from aekit import __version__
from aekit.errors import AekitError
from aekit.images.export.parts import Part
from aekit.images.export.torch_files import trace

OPSET = 18  # of 2022: browsers and phones have it, and the exporter translates to no older one by itself
# A file of protocol buffers, which ONNX is, has less than 2 GiB; graph and names take some of it.
MAX_BYTES = 2**31 - 2**22
BATCH = "batch"  # name of the axis of any length
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Raise an AekitError if a package is missing that ONNX needs."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise AekitError(f"--format onnx: {missing[0]} is not installed; run pip install 'aekit[onnx]'")


def write_onnx(part: Part) -> bytes:
    """Return a part as an ONNX model with a batch of any size, and its metadata in the entry ``aekit``.

    Names of layers and lines of source, which the exporter leaves in it with paths of this machine, are taken out, so
    that the same weights give the same bytes.
    """
    program = torch.onnx.export(
        trace(part),
        (),
        None,
        dynamo=True,
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    model: Any = program.model_proto
    _strip(model)
    model.producer_name, model.producer_version = "aekit", __version__
    entry = model.metadata_props.add()
    entry.key, entry.value = "aekit", json.dumps(part.metadata, sort_keys=True)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    importlib.import_module("onnx").checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(model: Any) -> None:
    graph = model.graph
    graph.ClearField("value_info")
    for one in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        one.ClearField("metadata_props")
        one.ClearField("doc_string")


def run_onnx(content: bytes, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Return the outputs of an ONNX model on the CPU, in their order, for inputs by name."""
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return [torch.from_numpy(output) for output in outputs]
