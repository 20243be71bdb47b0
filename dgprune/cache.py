"""Where this machine keeps what it can make again: measured latencies and decoded images."""

import os
from pathlib import Path

CACHE = "DGPRUNE_CACHE"
_OFF = "off"


def cache_folder() -> Path:
    """The folder `$DGPRUNE_CACHE`, or the user's own where it is not set or `off`."""
    own = os.environ.get(CACHE)
    if own and own != _OFF:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dgprune"


def image_cache() -> Path | None:
    """The folder of decoded images, or None where `DGPRUNE_CACHE=off` says to keep none."""
    return None if os.environ.get(CACHE) == _OFF else cache_folder() / "images"
