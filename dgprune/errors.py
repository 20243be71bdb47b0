"""Errors a user can act on.

Each message says what was got, what is needed and what to type.
"""

MAX_SEED = 2**32 - 1


class DgpruneError(Exception):
    """Bad input or a missing part: the command line prints it as one line and exits 2."""


def require_between(option: str, value: float, low: float, high: float) -> None:
    """Raises DgpruneError where `value` is not a number of `low` to `high`, both included."""
    if not low <= value <= high:
        raise DgpruneError(f"{option} {value} must be a number from {low:g} to {high:g}")


class LeakError(DgpruneError):
    """An image of the held-out domain was about to influence the model."""
