"""What pruning kept: heads, head dimension and MLP of every block, and the width, beside dense."""

from collections.abc import Iterator

from dgprune.schema import Json
from dgprune.structure import Structure
from reports.charts.chart import Chart, rows, select
from reports.charts.placed import Experiments, Placed
from reports.charts.theme import INK, SERIES

_AXES = ("heads", "head dimension", "MLP", "width")
_KEYS = ("heads", "dim", "mlp", "width")
_COLUMNS = ("f", "block", *_KEYS, *(f"{key}_of" for key in _KEYS))


def kept_structure(found: Experiments) -> Chart | None:
    """Kept shares by block; None where no pruned file has its dense one beside it."""
    pruned = [p for p in found.rows if p.criterion != "dense" and p.dense is not None]
    drawn = list({placed.row.subject.sha256: placed for placed in pruned}.values())
    if not drawn:
        return None
    lines = [line for number, placed in enumerate(drawn) for line in _blocks(number, placed)]
    return Chart(
        name="kept",
        title="Kept structure",
        text="Of each block, how much of the dense model's heads, head dimension and MLP units is "
        "left, and of the width that all blocks share. The line at 100 % is dense.",
        spec=_spec(lines, _names(drawn, found)),
    )


def _names(drawn: list[Placed], found: Experiments) -> list[str]:
    several = len(found.titles) > 1
    return [
        f"{placed.file} – {found.titles[placed.experiment]}" if several else placed.file
        for placed in drawn
    ]


def _blocks(number: int, placed: Placed) -> Iterator[tuple[int, ...]]:
    """A line a block; the width is the same in all."""
    assert placed.dense is not None
    kept, dense = placed.row.subject.structure, placed.dense.subject.structure
    for place in range(len(kept.blocks)):
        yield (number, place + 1, *_sizes(kept, place), *_sizes(dense, place))


def _sizes(structure: Structure, place: int) -> tuple[int, int, int, int]:
    block = structure.blocks[place]
    return block.num_heads, block.head_dim, block.mlp_hidden, structure.embed_dim


def _spec(lines: list[tuple[int, ...]], names: list[str]) -> Json:
    whole = " : ".join(f"datum.axis === '{key}' ? datum.{key}_of" for key in _KEYS[:-1])
    words = " : ".join(
        f"datum.axis === '{key}' ? '{name}'" for key, name in zip(_KEYS, _AXES, strict=True)
    )
    return {
        "width": "container",
        "height": 260,
        "data": rows(_COLUMNS, lines, _COLUMNS),
        "params": [select("file", "file", list(range(len(names))), names)],
        "transform": [
            {"filter": "datum.f === file"},
            {"fold": list(_KEYS), "as": ["axis", "kept"]},
            {"calculate": f"{whole} : datum.width_of", "as": "of"},
            {"calculate": f"{words} : ''", "as": "what"},
            {"calculate": "100 * datum.kept / datum.of", "as": "share"},
            {"calculate": "datum.kept + ' of ' + datum.of", "as": "count"},
        ],
        "layer": [_bars(), _dense_line()],
    }


def _bars() -> Json:
    return {
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "block", "type": "ordinal", "axis": {"labelAngle": 0, "title": "block"}},
            "xOffset": {"field": "what", "sort": list(_AXES)},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "kept, % of dense",
                "scale": {"domainMax": 100},
            },
            "color": {
                "field": "what",
                "sort": list(_AXES),
                "title": None,
                "scale": {"domain": list(_AXES), "range": list(SERIES[:4])},
            },
            "tooltip": [
                {"field": "block", "type": "ordinal"},
                {"field": "what", "title": "of"},
                {"field": "count", "title": "kept"},
                {"field": "share", "title": "%", "type": "quantitative", "format": ".1f"},
            ],
        },
    }


def _dense_line() -> Json:
    return {
        "data": {"values": [{"dense": 100}]},
        "mark": {"type": "rule", "strokeDash": [2, 3], "color": INK},
        "encoding": {"y": {"field": "dense", "type": "quantitative"}},
    }
