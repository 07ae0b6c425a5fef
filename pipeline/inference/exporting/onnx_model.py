"""An exported model as ONNX, for programs without PyTorch; needs the extra ``onnx``.

One graph of encoder and head takes a waveform of any length as it is, mono at 16 kHz: the encoder's
normalisation, or a front end's spectrum, is inside.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.ground.errors import PipelineError
from pipeline.inference.exporting import graph
from pipeline.inference.judge import LEAST, MOST, ONNX

OPSET = 18
# Convolutions of 8 bits are slower on a CPU, and few weights are theirs.
QUANTIZED = ["MatMul", "Gemm"]


def write(folder: Path, int8: bool = False) -> None:
    """Write ``model.onnx`` into the folder of an exported model, with ``int8`` also a smaller one.

    Raises:
        PipelineError: The extra is not installed, or as `graph.of`.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
        from onnxruntime import quantization
    except ImportError:
        raise PipelineError("onnx: not installed, run `pip install -e .[onnx]`") from None
    model, path = graph.of(folder), folder / ONNX["onnx"]
    least, most = model.frames.least, model.frames.most
    # A name of one's own would have torch refuse its guard of two frames, and capture again.
    dynamic: Any = ({1: torch.export.Dim.AUTO(min=least, max=most)},)
    with _quiet():
        program: Any = torch.onnx.export(
            model.eval(),
            (torch.zeros(1, max(SAMPLE_RATE_HZ, 2 * least)),),
            input_names=["wave"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    program.model.graph.inputs[0].shape[1] = "samples"
    # Each node says which lines made it, by their paths on this machine.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    limits = {LEAST: least, MOST: most}
    program.model.metadata_props.update({k: str(v) for k, v in limits.items() if v is not None})
    program.save(path, external_data=False)
    if int8:
        exact = onnx.load(path)
        # Shapes that the exporter noted before it joined nodes: some are no longer true.
        del exact.graph.value_info[:]
        with _quiet():
            quantization.quantize_dynamic(
                exact,
                folder / ONNX["onnx-int8"],
                op_types_to_quantize=QUANTIZED,
                per_channel=True,
                extra_options={"DefaultTensorType": 1},  # float, where shapes are not known
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters log: tries of theirs that fail before one does not."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
