"""Which frames HuBERT's masked prediction hides.

Masks are drawn here, per clip and on valid frames only: transformers would draw them from NumPy's
global generator, over padding as well.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Spans:
    """How many frames are hidden: ``probability`` of a frame to be hidden if spans were disjoint.

    They may overlap, so that HuBERT's 0.8 with spans of 10 frames hides about 57 % of a long clip.
    """

    probability: float
    length_frames: int

    def draw(self, frames: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """A mask over ``frames`` frames, True where hidden; at least one span.

        As in HuBERT (Hsu et al., 2021, section III-B): ``probability * frames / length`` starts,
        rounded up or down at random, drawn without replacement. A clip shorter than a span is
        hidden whole.
        """
        length = min(self.length_frames, frames)
        places = frames - length + 1
        count = int(self.probability * frames / length + rng.random())
        starts = rng.choice(places, size=min(max(count, 1), places), replace=False)
        mask = np.zeros(frames, dtype=np.bool_)
        mask[(starts[:, None] + np.arange(length)).ravel()] = True
        return mask
