"""Seeds derived from names, so that no random draw depends on order, workers or resumption."""

import hashlib


def derive(*parts: int | str) -> int:
    """A 63-bit seed that the parts determine, such as ``derive(seed, "mask", epoch, clip)``."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
