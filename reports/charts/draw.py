"""A chart as a picture, and the library that draws it in a browser."""

import functools
import io
import re

import vl_convert
from PIL import Image

from reports.charts.chart import Chart
from reports.charts.theme import config

_VERSION = "6.4"
_SCALE = 2.0
_EXPORTED = "window.vegaEmbed = vegaEmbed;"
_ENDS_SCRIPT = re.compile("</script|<!--", re.IGNORECASE)


def png(chart: Chart, width: int = 720) -> bytes:
    """The chart as it opens, `width` pixels wide, on white, at twice the resolution."""
    spec = {**chart.spec, "config": config(), "background": "white"}
    if spec.get("width") == "container":
        spec["width"] = width
    data = vl_convert.vegalite_to_png(
        spec, vl_version=_VERSION, scale=_SCALE, allowed_base_urls=[], show_warnings=False
    )
    return _small(data)


def _small(data: bytes) -> bytes:
    """The same picture in a tenth of the bytes: a repository keeps every version of it."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and vega-embed, all in one module that needs no network."""
    text = str(vl_convert.javascript_bundle(_EXPORTED, vl_version=_VERSION))
    if _ENDS_SCRIPT.search(text):  # of a later version; a page could not hold it as it is
        raise AssertionError("the plotting library holds what ends a script in HTML")
    return text
