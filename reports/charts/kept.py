"""What pruning kept: heads, head dimension and MLP of every block, and the width, beside dense."""

from collections.abc import Mapping, Sequence

from dgprune.schema import Json
from dgprune.structure import Structure
from reports.charts.chart import Chart, joined, rows, select
from reports.charts.placed import Experiments, Placed, experiment_list
from reports.charts.theme import INK, SERIES

_AXES = ("heads", "head dimension", "MLP", "width")
_KEYS = ("heads", "dim", "mlp", "width")
_OF_DENSE = tuple(f"{key}_of" for key in _KEYS)
_COLUMNS = ("e", "name", "dense", "depth", *_KEYS)


def kept_structure(found: Experiments) -> Chart | None:
    """Kept shares by block; None where no pruned file has its dense one beside it.

    The same checkpoint in another format or precision has the same structure: it is drawn once.
    """
    pruned = [p for p in found.rows if p.criterion != "dense" and p.dense is not None]
    drawn = list({(p.experiment, p.file): p for p in reversed(pruned)}.values())[::-1]
    if not drawn:
        return None
    names = list(dict.fromkeys(placed.file for placed in drawn))
    place = {name: number for number, name in enumerate(names)}
    dense = {placed.dense.subject.structure for placed in drawn if placed.dense}
    whole = {structure: number for number, structure in enumerate(sorted(dense, key=repr))}
    lines = [_line(placed, place[placed.file], whole) for placed in drawn]
    return Chart(
        name="kept",
        title="Kept structure",
        text="Of each block, how much of the dense model's heads, head dimension and MLP units is "
        "left, and of the width that all blocks share. The line at 100 % is dense.",
        spec=_spec(lines, names, whole, experiment_list(found, drawn)),
    )


def _line(placed: Placed, name: int, whole: Mapping[Structure, int]) -> tuple[object, ...]:
    """A line a file: of every block its sizes, in one field each."""
    assert placed.dense is not None
    dense = whole[placed.dense.subject.structure]
    structure = placed.row.subject.structure
    return (placed.experiment, name, dense, len(structure.blocks), *_sizes(structure))


def _sizes(structure: Structure) -> tuple[str, str, str, str]:
    blocks = structure.blocks
    sizes = [(b.num_heads, b.head_dim, b.mlp_hidden, structure.embed_dim) for b in blocks]
    heads, dims, hidden, width = (_by_block(column) for column in zip(*sizes, strict=True))
    return heads, dims, hidden, width


def _by_block(sizes: Sequence[int]) -> str:
    """Sizes from the first block to the last; one stands for all where they are equal."""
    return " ".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1]))


def _spec(
    lines: list[tuple[object, ...]],
    names: list[str],
    whole: Mapping[Structure, int],
    experiments: Json,
) -> Json:
    dense = [(number, *_sizes(structure)) for structure, number in whole.items()]
    of_dense = " : ".join(f"datum.axis === '{key}' ? datum.{key}_of" for key in _KEYS[:-1])
    words = " : ".join(
        f"datum.axis === '{key}' ? '{name}'" for key, name in zip(_KEYS, _AXES, strict=True)
    )
    return {
        "width": "container",
        "height": 260,
        "data": rows(_COLUMNS, lines, ("e", "name", "dense", "depth")),
        "params": [experiments, select("file", "file", list(range(len(names))), names)],
        "transform": [
            *joined("dense", _OF_DENSE, dense, ()),
            {"filter": "datum.e === experiment && datum.name === file"},
            *_expanded(),
            {"fold": list(_KEYS), "as": ["axis", "kept"]},
            {"calculate": f"{of_dense} : datum.width_of", "as": "of"},
            {"calculate": f"{words} : ''", "as": "what"},
            {"calculate": "100 * datum.kept / datum.of", "as": "share"},
            {"calculate": "datum.kept + ' of ' + datum.of", "as": "count"},
        ],
        "layer": [_bars(), _dense_line()],
    }


def _expanded() -> list[Json]:
    """A row a block, of what `_by_block` wrote."""
    keys = (*_KEYS, *_OF_DENSE)
    taken = "toNumber(datum.{0}[length(datum.{0}) > 1 ? datum.block - 1 : 0])"
    return [
        *({"calculate": f"split(datum.{key}, ' ')", "as": key} for key in keys),
        {"calculate": "sequence(1, datum.depth + 1)", "as": "block"},
        {"flatten": ["block"]},
        *({"calculate": taken.format(key), "as": key} for key in keys),
    ]


def _bars() -> Json:
    return {
        "mark": {"type": "bar"},
        "encoding": {
            "x": {
                "field": "block",
                "type": "ordinal",
                "axis": {"labelAngle": 0, "labelOverlap": "greedy", "title": "block"},
            },
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
