"""Names of an encoder's layers: -1 is the raw output of the top block, ``last`` the final output.

``params.yaml`` counts from the top, since -3 is the third-to-last in any encoder; files count from
the bottom, as the ``hidden_states`` of transformers do. A front end without weights has no blocks,
only ``last``.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from pipeline.ground.errors import PipelineError

Layer = Annotated[int, Field(le=-1)] | Literal["last"]
Layers = Annotated[list[Layer], Field(max_length=64)] | Literal["all"]


def index(layer: int, blocks: int) -> int:
    """The index among ``hidden_states``: ``blocks`` for -1, 0 for what enters the first block.

    Raises:
        PipelineError: There is no such layer.
    """
    found = blocks + 1 + layer
    if blocks == 0:
        raise PipelineError(f"params.yaml: this front end has no layer {layer}, set it to last")
    if layer >= 0 or found < 0:
        raise PipelineError(
            f"params.yaml: there is no layer {layer}, expected {-blocks - 1} to -1, or last, "
            f"in an encoder of {blocks} blocks"
        )
    return found


def depths(layers: Sequence[Layer], blocks: int) -> dict[Layer, int]:
    """How many blocks a frame has passed at each layer; all of them at ``last``.

    Raises:
        PipelineError: There is no such layer.
    """
    return {layer: blocks if layer == "last" else index(layer, blocks) for layer in layers}


def expand(layers: Layers, blocks: int) -> tuple[Layer, ...]:
    """Each layer once, from bottom to top, ``last`` at the end; ``all`` is every one and ``last``.

    Raises:
        PipelineError: There is no such layer.
    """
    if layers == "all":
        numbered: Sequence[int] = range(-blocks - 1, 0) if blocks else ()
        return (*numbered, "last")
    below = sorted({layer for layer in layers if layer != "last"}, key=lambda n: index(n, blocks))
    return (*below, "last") if "last" in layers else tuple(below)


def frames_name(layer: Layer, blocks: int) -> str:
    """The dataset of a layer's frames, such as ``layer_10`` for -3 of 12 blocks."""
    return "last" if layer == "last" else f"layer_{index(layer, blocks)}"


def mean_name(layer: Layer, blocks: int) -> str:
    """The dataset of a layer's means over each clip, such as ``mean_10``."""
    return f"mean_{'last' if layer == 'last' else index(layer, blocks)}"
