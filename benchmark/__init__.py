"""Accuracy and latency of the very file that is shipped.

`from benchmark import evaluate, bench`: each takes a frozen spec and a records file, as the
commands do; `bench` with a baseline is the comparison.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.accuracy import evaluate as evaluate
    from benchmark.latency import bench as bench


def __getattr__(name: str) -> Any:
    """The functions above, imported when first asked for: the timing process needs neither."""
    if name == "evaluate":
        from benchmark.accuracy import evaluate

        return evaluate
    if name == "bench":
        from benchmark.latency import bench

        return bench
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
