"""The figures that the report draws, kept before they are saved."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.report import plots


def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Each figure by its file's name, as soon as it is drawn."""
    found: dict[str, Figure] = {}

    def save(figure: Figure, path: Path) -> None:
        found[path.name] = figure

    monkeypatch.setattr(plots, "save", save)
    return found


def words(figure: Figure) -> list[str]:
    """What its legends say."""
    legends = [axes.get_legend() for axes in figure.axes]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def luminance(figure: Figure) -> npt.NDArray[np.float64]:
    """The picture's pixels from black, 0, to white, 1: (rows from the top, columns)."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    shown: npt.NDArray[np.float64] = np.asarray(canvas.buffer_rgba())[..., :3].mean(-1) / 255
    return shown
