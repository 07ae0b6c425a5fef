"""How long a test waits for what only a fault would keep from it: on a busy machine, minutes."""

import time
from collections.abc import Callable

PATIENCE_S = 300


def wait_until(condition: Callable[[], bool]) -> None:
    stop = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < stop, "waited in vain"
        time.sleep(0.002)
