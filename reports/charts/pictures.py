"""Many charts drawn in a second process, while the first one goes on with the page."""

import base64
import json
import subprocess
import sys
from collections.abc import Mapping

from dgprune.errors import DgpruneError
from reports.charts import draw
from reports.charts.chart import Chart

_WORTH_A_PROCESS = 4


class Pictures:
    """PNG of every chart by its name, and the script of a page; drawn when they are asked for.

    From four charts on another process draws them meanwhile: that takes seconds.
    """

    def __init__(self, charts: Mapping[str, Chart]) -> None:
        self._charts = charts
        self._apart = _started(charts) if len(charts) >= _WORTH_A_PROCESS else None
        self._drawn: tuple[str, dict[str, bytes]] | None = None

    @property
    def script(self) -> str:
        """What draws the charts of a page."""
        return self._result()[0]

    @property
    def png(self) -> dict[str, bytes]:
        """The pictures."""
        return self._result()[1]

    def _result(self) -> tuple[str, dict[str, bytes]]:
        if self._drawn is None:
            self._drawn = _finished(self._apart) if self._apart else _drawn_here(self._charts)
        return self._drawn


def _drawn_here(charts: Mapping[str, Chart]) -> tuple[str, dict[str, bytes]]:
    return draw.script(), {name: draw.png(chart) for name, chart in charts.items()}


def _started(charts: Mapping[str, Chart]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "reports.charts.pictures"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    specs = {name: chart.spec for name, chart in charts.items()}
    try:
        process.stdin.write(json.dumps(specs).encode())
        process.stdin.close()
    except BrokenPipeError:  # it died: what it said is told when its pictures are asked for
        pass
    process.stdin = None
    return process


def _finished(process: "subprocess.Popen[bytes]") -> tuple[str, dict[str, bytes]]:
    said, errors = process.communicate()
    if process.returncode:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise DgpruneError(f"the charts could not be drawn ({last or process.returncode})")
    script, pictures = json.loads(said)
    return script, {name: base64.b64decode(text) for name, text in pictures.items()}


def main() -> None:
    """Draws the specifications that come on stdin; script and pictures go to stdout."""
    specs = json.loads(sys.stdin.buffer.read())
    charts = {name: Chart(name=name, title="", text="", spec=spec) for name, spec in specs.items()}
    script, pictures = _drawn_here(charts)
    encoded = {name: base64.b64encode(data).decode() for name, data in pictures.items()}
    sys.stdout.write(json.dumps([script, encoded]))


if __name__ == "__main__":
    main()
