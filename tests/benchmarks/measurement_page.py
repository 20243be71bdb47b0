"""docs/measurement.md from what `tests.benchmarks.measurement` kept."""

import statistics
from typing import Any


def page(kept: dict[str, Any]) -> str:
    """The page: every number is one of `kept`, or follows from them."""
    parts = [_HEAD.format(**_machine(kept["environment"]))]
    parts += [_coverage(kept["coverage"]), _controls(kept["controls"])]
    parts += [_agreement(kept["agreement"], kept["controls"]), _overhead(kept["overhead"])]
    parts += [_verdict_time(kept["verdict_time"])]
    return "\n".join(parts)


_HEAD = """\
# How far a speedup may be believed

`dgprune bench` times two files in alternation (ABBA blocks) in processes of their own, and puts an
interval on the ratio: Student's t over the means of processes, or over all rounds where that is
wider. This page is what came out when the harness itself was measured. Written by
`python -m tests.benchmarks.measurement` on {cpu}, {cores} cores, {system} ({libraries}).
"""


def _machine(environment: dict[str, Any]) -> dict[str, Any]:
    wanted = ("onnxruntime", "openvino", "torch")
    libraries = environment["libraries"]
    named = ", ".join(f"{name} {libraries[name]}" for name in wanted if name in libraries)
    return {**environment, "libraries": named}


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _share(count: float, runs: int) -> str:
    return f"{100 * count / runs:.1f} %"


def _coverage(rows: dict[str, Any]) -> str:
    runs = next(iter(rows.values()))["runs"]
    body = [
        [
            name,
            _share(row["covered"], runs),
            _share(row["usual_covered"], runs),
            _share(row["wrong"], runs),
            _share(row["found"], runs),
            f"{row['processes'] / runs:.1f}",
        ]
        for name, row in rows.items()
    ]
    header = ["machine", "interval holds the truth", "dense, then pruned", "false verdicts"]
    text = (
        "## On machines whose true speedup is known\n\n"
        f"{runs} runs each of the tier `default` on a made-up machine with 2 % of white noise "
        "and what the first column adds. Nominal is 95 %. *Dense, then pruned* is the usual loop "
        "on the same machine: 2000 calls of the one, then of the other, and a t interval. *False "
        "verdicts* are FASTER or SLOWER for a file against itself; *3 % found* is FASTER at a "
        "true 1.03.\n"
    )
    return f"{text}\n{_table([*header, '3 % found', 'processes'], body)}"


def _controls(found: list[dict[str, Any]]) -> str:
    verdicts = [entry["verdict"] for entry in found]
    counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    held = sum(entry["low"] <= 1 <= entry["high"] for entry in found)
    widths = [100 * (e["high"] - e["low"]) / 2 / e["estimate"] for e in found]
    ratios = [entry["estimate"] for entry in found]
    medians = [entry["median_ms"] for entry in found]
    spread = 100 * (max(medians) / min(medians) - 1)
    return (
        "## A file against itself, here\n\n"
        f"{len(found)} runs of the same ONNX file against a second copy of itself, each in new "
        f"processes ({statistics.mean(e['processes'] for e in found):g}, blocks of "
        f"{found[0]['block_ms']:g} ms): {counted}. "
        f"The interval holds 1 in {held} of {len(found)}; its half-width is "
        f"{statistics.median(widths):.2f} % in the median and {max(widths):.2f} % at most. The "
        f"ratios lie between {min(ratios):.4f} and {max(ratios):.4f}, while the median latency "
        f"itself moved by {spread:.1f} % from run to run ({min(medians):.2f} to "
        f"{max(medians):.2f} ms): pairing is what keeps that out of the ratio.\n"
    )


def _agreement(found: dict[str, list[float]], controls: list[dict[str, Any]]) -> str:
    names = list(found)
    body = []
    for own, other in zip(names[::2], names[1::2], strict=True):
        ratios = [b / a for a, b in zip(found[own], found[other], strict=True)]
        away = 100 * (statistics.median(ratios) - 1)
        body.append(
            [
                other,
                f"{statistics.median(found[other]):.3f} ms",
                f"{statistics.median(found[own]):.3f} ms",
                f"{away:+.2f} %",
                ", ".join(f"{100 * (r - 1):+.1f}" for r in ratios),
            ]
        )
    text = (
        "## Beside other tools\n\n"
        "Median latency of one ONNX file exported for batch 1, one thread, the tools in "
        f"alternation of two seconds; {len(found[names[0]])} processes. "
        "`torch.utils.benchmark` ran around the same ONNX Runtime session in the same process, "
        "`benchmark_app` is OpenVINO's own and ran in another. The noise floor of this machine is "
        f"the largest distance from 1 of the ratios above, {_floor(controls)}.\n"
    )
    header = ["tool", "its median", "dgprune's", "difference", "by process"]
    return f"{text}\n{_table(header, body)}"


def _floor(controls: list[dict[str, Any]]) -> str:
    return f"{100 * max(abs(entry['estimate'] - 1) for entry in controls):.1f} %"


def _overhead(found: dict[str, float]) -> str:
    return (
        "## What the harness costs\n\n"
        f"A call that computes nothing leaves a sample of {found['median_sample_us']:.2f} "
        f"microseconds (the bound is 10), and takes {found['wall_per_call_us']:.2f} microseconds "
        "with all bookkeeping.\n"
    )


def _verdict_time(found: dict[str, Any]) -> str:
    body = [
        [
            runtime,
            f"{row['seconds']:.1f} s",
            str(row["processes"]),
            f"{row['speedup']['estimate']:.3f}x "
            f"[{row['speedup']['low']:.3f}, {row['speedup']['high']:.3f}]",
            row["verdict"],
        ]
        for runtime, row in found.items()
    ]
    header = ["runtime", "time", "processes", "speedup", "verdict"]
    return (
        "## How long a verdict takes\n\n"
        "One cell of the tier `default` at batch 1, from the command to the record, cold starts of "
        "both arms included; the A/A control of the baseline is measured once before.\n\n"
        f"{_table(header, body)}"
    )
