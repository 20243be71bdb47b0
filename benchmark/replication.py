"""How many processes a cell takes. Pure: what runs one, and the clock, are injected."""

from collections.abc import Callable, Sequence

from benchmark.child import ProcessDiedError
from dgprune.statistics import speedup_interval
from dgprune.timing import BenchSpec, Replica

_MOST_DEATHS = 2
# Three processes that agree by luck would end the cell too early at 95 %: with a true spread of
# 0.5 % between builds the interval then held the truth 83 % of the time.
_STOP_CONFIDENCE = 0.995


def replicate(
    run: Callable[[int], Replica], spec: BenchSpec, now_s: Callable[[], float], *, paired: bool
) -> tuple[list[Replica], list[str]]:
    """Processes one after the other until the speedup's interval over them is narrow enough.

    At least and at most as many as `spec.replicas`, and none once `spec.cell_s` is over. One that
    dies is told in the second list, and the others go on; two that die end the cell.
    """
    least, most = spec.replicas
    start = now_s()
    replicas: list[Replica] = []
    failures: list[str] = []
    for number in range(most):
        late = now_s() - start > spec.cell_s
        if len(replicas) >= least and (late or not paired or _narrow(replicas, spec)):
            break
        try:
            replicas.append(run(number))
        except ProcessDiedError as error:
            failures.append(str(error))
            if len(failures) == _MOST_DEATHS:
                break
    return replicas, failures


def _narrow(replicas: Sequence[Replica], spec: BenchSpec) -> bool:
    return speedup_interval(replicas, _STOP_CONFIDENCE).half_width <= spec.half_width
