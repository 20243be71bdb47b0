"""The processes of a cell. Pure: what runs one is injected."""

from collections.abc import Callable

from benchmark.child import ProcessDiedError
from dgprune.timing import BenchSpec, Replica

_MOST_DEATHS = 2


def replicate(run: Callable[[int], Replica], spec: BenchSpec) -> tuple[list[Replica], list[str]]:
    """What `spec.replicas` processes measured, one after the other, and which died of what.

    The first that dies is run again under its number, so that each arm is loaded first as often as
    the other; the second death ends the cell. The number is fixed: stopping once the processes
    agree would stop at those that agree by luck, and with a true spread of 0.5 % between builds the
    95 % interval then held the truth 83 % of the time.
    """
    replicas: list[Replica] = []
    failures: list[str] = []
    while len(replicas) < spec.replicas and len(failures) < _MOST_DEATHS:
        try:
            replicas.append(run(len(replicas)))
        except ProcessDiedError as error:
            failures.append(str(error))
    return replicas, failures
