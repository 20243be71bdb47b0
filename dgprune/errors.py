"""Errors a user can act on.

Each message says what was got, what is needed and what to type.
"""

from collections.abc import Mapping

MAX_SEED = 2**32 - 1


class DgpruneError(Exception):
    """Bad input or a missing part: the command line prints it as one line and exits 2."""


def require_between(option: str, value: float, low: float, high: float) -> None:
    """Raises DgpruneError where `value` is not a number of `low` to `high`, both included."""
    if not low <= value <= high:
        raise DgpruneError(f"{option} {value} must be a number from {low:g} to {high:g}")


class LeakError(DgpruneError):
    """An image of the held-out domain was about to influence the model."""


def refuse_idle(because: str, options: Mapping[str, object]) -> None:
    """Raises DgpruneError for an option that was given and does nothing, such as "with --plan"."""
    for option, value in options.items():
        if value is not None:
            raise DgpruneError(f"{option} does nothing {because}; remove {option}")
