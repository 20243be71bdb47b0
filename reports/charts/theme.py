"""Colours and type of every chart; what is drawn in `currentColor` follows the page's theme."""

from collections.abc import Iterable

from dgprune.schema import Json

# Okabe and Ito (2008): told apart by colour-blind readers; shapes and dashes tell it once more.
CRITERIA = {
    "dense": "#8c8c8c",
    "fisher": "#56B4E9",
    "hessian": "#0072B2",
    "taylor": "#D55E00",
    "l1": "#009E73",
    "l2": "#CC79A7",
    "random": "#E69F00",
}
BASELINE, CANDIDATE = "#8c8c8c", "#0072B2"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_OTHERS = ("#B8A200", "#7A5195", "#5F6368")
INK = "currentColor"


def criterion_colours(names: Iterable[str]) -> Json:
    """The scale of a colour by criterion, for those that occur."""
    found = sorted(set(names), key=lambda name: ([*CRITERIA, name].index(name), name))
    unknown = [name for name in found if name not in CRITERIA]
    spare = {name: _OTHERS[i % len(_OTHERS)] for i, name in enumerate(unknown)}
    return {"domain": found, "range": [CRITERIA.get(name) or spare[name] for name in found]}


def config() -> Json:
    """Vega-Lite's configuration: no frame, faint grid, text in the colour of the page."""
    text = {"labelColor": INK, "titleColor": INK, "titleFontWeight": "normal"}
    return {
        "background": None,
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axisY": {"labelLimit": 360},
        "axis": text
        | {"domainColor": INK, "tickColor": INK, "gridColor": INK, "gridOpacity": 0.15}
        | {"labelFontSize": 12, "titleFontSize": 12, "domainOpacity": 0.4, "tickOpacity": 0.4},
        "legend": text
        | {"labelFontSize": 12, "titleFontSize": 12, "labelLimit": 260}
        | {"symbolBaseFillColor": INK, "symbolBaseStrokeColor": INK},
        "header": text | {"labelFontSize": 12},
        "title": {"color": INK, "fontSize": 13, "fontWeight": "normal", "anchor": "start"},
        "text": {"color": INK},
        "rule": {"color": INK},
    }
