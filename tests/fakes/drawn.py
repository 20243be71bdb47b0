"""What a chart draws, without a browser: the marks that Vega would put on the page."""

from collections.abc import Iterator
from typing import Any

import vl_convert

from reports.charts.chart import Chart


def scene(chart: Chart, **chosen: object) -> Any:
    """The scene of `chart` with its lists set to `chosen`; a warning of the library fails."""
    spec = {**chart.spec, "params": [dict(param) for param in chart.spec.get("params", [])]}
    if spec.get("width") == "container":
        spec["width"] = 700
    names = {param["name"] for param in spec["params"]}
    assert set(chosen) <= names, f"no such list: {set(chosen) - names}"
    for param in spec["params"]:
        if param["name"] in chosen:
            param["value"] = chosen[param["name"]]
    return vl_convert.vegalite_to_scenegraph(spec, vl_version="6.4", allowed_base_urls=[])


def marks(drawn: Any, kind: str) -> list[list[Any]]:
    """The items of every mark of one kind ("symbol", "line", "rect", "rule"), mark by mark."""
    return [
        node["items"]
        for node in _nodes(drawn)
        if node.get("marktype") == kind and str(node.get("role", "mark")) == "mark"
    ]


def texts_of(drawn: Any) -> list[str]:
    """Every text of the picture: numbers, titles, labels, legends."""
    found = [node.get("text") for node in _nodes(drawn) if "text" in node]
    return ["".join(text) if isinstance(text, list) else str(text) for text in found]


def _nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from _nodes(value)
