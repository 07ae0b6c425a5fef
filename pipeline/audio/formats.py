"""What every clip is: one channel at 16 kHz, as float32 in [-1, 1]."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
# The encoders' receptive field: a shorter clip has no frame.
MIN_SAMPLES = 400
