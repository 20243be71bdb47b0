"""The history: latency over commits, small multiples, a column a runtime and a row an arm."""

from typing import Any

from reports.figure import encoded, themed
from reports.history import History

# Okabe and Ito (2008), as in the figure of accuracy.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_LABELS = 12
# An axis that fits the data alone would blow noise up to the size of a regression.
_LEAST_REACH = 0.10


def draw_history(history: History, kind: str) -> bytes:
    """The figure of one machine's `history` as "svg" (text in the page's colour) or "png".

    Every panel has its own scale, which spans at least 10 % to either side of the middle.
    """
    arms, runtimes = history.arms, history.runtimes
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            len(arms),
            len(runtimes),
            figsize=(3.4 * len(runtimes) + 0.8, 2.0 * len(arms) + 0.8),
            sharex=True,
            squeeze=False,
        )
        for row, arm in enumerate(arms):
            for column, runtime in enumerate(runtimes):
                _panel(axes[row][column], history, runtime, arm, _COLOURS[row % len(_COLOURS)])
            axes[row][0].set_ylabel(f"{arm}, ms a call")
        for axis, runtime in zip(axes[0], runtimes, strict=True):
            axis.set_title(runtime, fontsize=10)
        for axis in axes[-1]:
            _name_commits(axis, history.runs)
        figure.align_ylabels(axes[:, 0])
        figure.tight_layout()
        return encoded(figure, kind)


def _panel(axis: Any, history: History, runtime: str, arm: str, colour: str) -> None:
    """Medians joined by a line; the bars reach from the first quartile to the third."""
    line = history.line(runtime, arm)
    axis.grid(axis="y", alpha=0.25, linewidth=0.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if not line:
        return
    medians = [1e3 * point.median_s for point in line]
    low = [1e3 * (point.median_s - point.q1_s) for point in line]
    high = [1e3 * (point.q3_s - point.median_s) for point in line]
    axis.errorbar(
        [history.runs.index(point.run) for point in line],
        medians,
        yerr=[low, high],
        color=colour,
        marker="o",
        markersize=4,
        linewidth=1.2,
        elinewidth=0.8,
        capsize=2,
    )
    axis.set_ylim(*_limits(medians, low, high))


def _limits(medians: list[float], low: list[float], high: list[float]) -> tuple[float, float]:
    bottom = min(m - reach for m, reach in zip(medians, low, strict=True))
    top = max(m + reach for m, reach in zip(medians, high, strict=True))
    middle = (bottom + top) / 2
    reach = max(_LEAST_REACH * middle, 0.6 * (top - bottom))
    return middle - reach, middle + reach


def _name_commits(axis: Any, runs: tuple[str, ...]) -> None:
    """Names the commits below the axis: all of them, or as many as there is room for."""
    step = -(-len(runs) // _LABELS)
    shown = range(len(runs) - 1, -1, -step)  # the newest always has its name
    names = [runs[place] for place in shown]
    axis.set_xticks(list(shown), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlim(-0.5, len(runs) - 0.5)
