"""Errors a user can act on.

Each message says what was got, what is needed and what to type.
"""


class DgpruneError(Exception):
    """Bad input or a missing part: the command line prints it as one line and exits 2."""


class LeakError(DgpruneError):
    """An image of the held-out domain was about to influence the model."""
