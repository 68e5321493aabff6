"""Parts of a network as files of torch that need no code of aekit: exported programs and TorchScript."""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch import Tensor

from aekit.images.export.parts import Part

_METADATA = "aekit.json"
_MACHINE = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")  # lines of source, paths
_OWN_RECORDS = ("version", "byteorder", ".data/serialization_id")  # that the writer adds itself


def trace(part: Part) -> torch.export.ExportedProgram:
    """Return a part as a graph of torch's operations for a batch of any size."""
    batch = torch.export.Dim("batch")
    example = part.example(2)  # one would be taken for a size that is always one
    dynamic = tuple({0: batch} for _ in example)
    with torch.no_grad():
        program = torch.export.export(part.portable, example, dynamic_shapes=dynamic, strict=False)
    for node in program.graph.nodes:
        for key in _MACHINE:
            node.meta.pop(key, None)
    return program


def write_program(part: Part) -> bytes:
    """Return a part as an exported program (.pt2), its metadata in the extra file ``aekit.json``."""
    file = io.BytesIO()
    torch.export.save(trace(part), file, extra_files={_METADATA: json.dumps(part.metadata, sort_keys=True)})
    return file.getvalue()


def run_program(content: bytes, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Return the outputs of an exported program for inputs in their order."""
    return list(torch.export.load(io.BytesIO(content)).module()(*inputs.values()))


def write_torchscript(part: Part) -> bytes:
    """Return a part as TorchScript (.pt), for C++ and phones, its metadata in the extra file ``aekit.json``.

    torch numbers the classes in it through a process, so that bytes are the same only for the same command line. What
    it keeps for debugging, with paths of this machine, is left out.
    """
    with torch.no_grad():
        traced: Any = torch.jit.trace(part.portable, part.example(2), check_trace=False)  # type: ignore[no-untyped-call]
        frozen = torch.jit.freeze(traced)
    file = io.BytesIO()
    extra = {_METADATA: json.dumps(part.metadata, sort_keys=True)}
    torch.jit.save(frozen, file, _extra_files=extra)
    return _without_debugging(file.getvalue())


def _without_debugging(content: bytes) -> bytes:
    reader = torch._C.PyTorchFileReader(io.BytesIO(content))
    file = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(file)
    for name in reader.get_all_records():
        if name not in _OWN_RECORDS and not name.endswith(".debug_pkl"):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return file.getvalue()


def run_torchscript(content: bytes, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Return the outputs of TorchScript for inputs in their order."""
    return list(torch.jit.load(io.BytesIO(content))(*inputs.values()))  # type: ignore[no-untyped-call]
