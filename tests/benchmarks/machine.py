"""What makes two stored runs comparable: device, machine and libraries."""

from dgprune.environment import current_environment
from dgprune.schema import Json, encode

DEVICE = "cpu"  # all three runtimes are timed on one core


def this_machine() -> Json:
    """Device and environment of this process, as they are stored; nothing names the host."""
    environment = encode(current_environment())
    del environment["device"]  # a GPU that is there, and not used
    return {"device": DEVICE, "environment": environment}
