"""The figure: accuracy on what was held out against measured speedup, with both intervals."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from markupsafe import Markup

from reports.rows import Row, Table, budget_text

# Okabe and Ito (2008): told apart by colour-blind readers; the marker tells the ratio once more.
_COLOURS = {
    "hessian": "#0072B2",
    "taylor": "#D55E00",
    "l1": "#009E73",
    "l2": "#CC79A7",
    "random": "#E69F00",
}
_OTHER_COLOURS = ("#56B4E9", "#F0E442", "#999999")
_MARKERS = "osD^vP"
# Matplotlib writes colours as numbers; this one is replaced, so that text follows the page's theme.
_INK = "#010203"


def draw(table: Table, kind: str) -> bytes:
    """The figure of `table` as "svg" (text in the page's colour) or "png" (on white).

    One panel a batch size; the step line is the Pareto front. The same table gives the same bytes.
    """
    sizes = table.batch_sizes or (1,)
    with themed() as pyplot:
        figure, axes = pyplot.subplots(
            1, len(sizes), figsize=(4.6 * len(sizes) + 1.4, 4.2), sharey=True, squeeze=False
        )
        for axis, size in zip(axes[0], sizes, strict=True):
            _panel(axis, table, size)
        axes[0][0].set_ylabel(f"accuracy on {table.setting.column}, %")
        _legend(figure, table)
        return encoded(figure, kind)


@contextmanager
def themed() -> Iterator[Any]:
    """Matplotlib's pyplot, whose text `encoded` lets follow the page's theme."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    style: Any = {
        "svg.hashsalt": "dgprune",
        "svg.fonttype": "none",
        "font.family": "DejaVu Sans",
        "font.size": 9,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
        ),
    }
    with matplotlib.rc_context(style):
        yield pyplot


def encoded(figure: Any, kind: str) -> bytes:
    """The bytes of `figure` as "svg" or "png", without a date; the figure is closed."""
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(
        buffer,
        format=kind,
        bbox_inches="tight",
        dpi=150,
        metadata={"Date": None} if kind == "svg" else {"Software": None},
        transparent=kind == "svg",
    )
    pyplot.close(figure)
    data = buffer.getvalue()
    return data.replace(_INK.encode(), b"currentColor") if kind == "svg" else data


def inline_svg(data: bytes) -> Markup:
    """The drawing without its XML prologue, which has no place inside a page."""
    text = data.decode("utf-8")
    return Markup(text[text.index("<svg") :])  # noqa: S704 - drawn here; matplotlib escapes its text


def colours(table: Table) -> dict[str, str]:
    """The colour of every criterion in the table."""
    names = sorted({row.criterion for row in table.rows if row.criterion != "dense"})
    spare = iter(_OTHER_COLOURS * len(names))
    return {name: _COLOURS.get(name) or next(spare) for name in names}


def _markers(table: Table) -> dict[tuple[str, float], str]:
    budgets = sorted({row.budget for row in table.rows if row.criterion != "dense"})
    return {budget: _MARKERS[i % len(_MARKERS)] for i, budget in enumerate(budgets)}


def points(table: Table, batch_size: int) -> list[tuple[float, float, Row]]:
    """(speedup, accuracy in %, row) of every row that has both measured on the same file."""
    found = []
    for row in table.rows:
        if row.held_out is not None and batch_size in row.speed:
            speed = row.speed[batch_size].interval.estimate
            found.append((speed, 100 * row.held_out.accuracy, row))
    return found


def pareto(candidates: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other one beats in both speedup and accuracy, by speedup."""
    front: list[tuple[float, float]] = []
    for speed, accuracy in sorted(candidates, reverse=True):
        if not front or accuracy > front[-1][1]:
            front.append((speed, accuracy))
    return front[::-1]


def _panel(axis: Any, table: Table, size: int) -> None:
    colour, marker = colours(table), _markers(table)
    drawn = points(table, size)
    for speed, accuracy, row in drawn:
        assert row.held_out is not None
        limits, seen = row.speed[size].interval, row.held_out.interval
        axis.errorbar(
            speed,
            accuracy,
            xerr=[[speed - limits.low], [limits.high - speed]],
            yerr=[[accuracy - 100 * seen.low], [100 * seen.high - accuracy]],
            fmt=marker[row.budget],
            color=colour[row.criterion],
            markersize=6,
            elinewidth=1,
            capsize=2,
        )
    dense = table.dense
    front = [(speed, accuracy) for speed, accuracy, _ in drawn]
    if dense is not None and dense.held_out is not None:
        level = 100 * dense.held_out.accuracy
        axis.plot([1], [level], marker="*", markersize=12, color=_INK, linestyle="none")
        axis.axhline(level, color=_INK, linewidth=0.8, linestyle=":")
        front.append((1.0, level))
    if front:
        xs, ys = zip(*pareto(front), strict=True)
        axis.step(xs, ys, where="pre", color="#888888", linewidth=1, zorder=0)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axis.set_xlabel(f"speedup over dense, batch {size}")
    axis.grid(alpha=0.25, linewidth=0.5)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _legend(figure: Any, table: Table) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="*", color=_INK, linestyle="none", label="dense")]
    handles += [
        Line2D([], [], marker="o", color=colour, linestyle="none", label=name)
        for name, colour in colours(table).items()
    ]
    handles += [
        Line2D([], [], marker=marker, color="#888888", linestyle="none", label=budget_text(*budget))
        for budget, marker in _markers(table).items()
    ]
    handles.append(Line2D([], [], color="#888888", linewidth=1, label="Pareto front"))
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(0.92, 0.5), frameon=False)
