"""What may be timed against what: arms that differ in one thing, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import cells
from benchmark.cells import LatencySpec, batch_sizes
from benchmark.comparable import require_comparable
from benchmark.latency import bench
from benchmark.subject import open_subject
from dgprune.errors import DgpruneError
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain


@pytest.mark.parametrize(
    ("part", "change"), [("precision", "fp16"), ("format", "openvino"), ("batch", "4")]
)
def test_arms_that_differ_in_more_than_the_network_are_refused(
    chain: TinyChain, part: str, change: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    require_comparable(candidate, baseline)
    if part == "batch":
        other = replace(candidate, form=replace(candidate.form, batch=int(change)))
    else:
        other = replace(candidate, subject=replace(candidate.subject, **{part: change}))  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match=f"arms differ in {part}"):
        require_comparable(other, baseline)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("calibration_images", 4, "calibration"),
        ("calibrate_on", ["domain0"], "calibration"),
        ("largest_batch", 1, "largest batch"),
    ],
)
def test_arms_that_were_exported_another_way_are_refused(
    chain: TinyChain, key: str, value: object, part: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    *before, last = candidate.subject.lineage
    changed = replace(last, spec={**last.spec, key: value})
    other = replace(candidate, subject=replace(candidate.subject, lineage=(*before, changed)))
    with pytest.raises(DgpruneError, match=f"arms differ in {part}"):
        require_comparable(other, baseline)


def test_a_baseline_of_another_fixed_batch_is_refused(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.dense), data=chain.data, batch="4")
    fixed = export(spec, tmp_path / "s").path
    asked = LatencySpec(
        artefact=str(chain.dense_artefact),
        baseline=str(fixed),
        data=chain.data,
        varies="runtime",
        runtime="openvino",
        baseline_runtime="onnxruntime",
        batch_sizes=(1,),
    )
    with pytest.raises(DgpruneError, match="exported for batch 4, not 1"):
        cells.cells_of(asked)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"varies": "runtime"}, "--vary runtime needs --baseline"),
        ({"varies": "threads"}, "--vary 'threads' must be one of network, precision, runtime"),
        ({"baseline_runtime": "torch"}, "are for --vary runtime; remove them"),
    ],
)
def test_options_of_varying_that_do_nothing_are_refused(
    change: dict[str, str], reason: str
) -> None:
    with pytest.raises(DgpruneError, match=reason):
        LatencySpec(artefact="a", data="b", **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("varies", ["precision", "runtime"])
def test_a_gain_of_runtime_or_precision_needs_the_same_network(
    chain: TinyChain, varies: str
) -> None:
    candidate, baseline = open_subject(chain.pruned_artefact), open_subject(chain.dense_artefact)
    with pytest.raises(DgpruneError, match="arms differ in network"):
        require_comparable(candidate, baseline, varies)  # type: ignore[arg-type]
    require_comparable(candidate, candidate, varies)  # type: ignore[arg-type]


@pytest.mark.parametrize("varies", ["precision", "runtime"])
def test_arms_that_do_not_vary_are_refused(chain: TinyChain, varies: str) -> None:
    file = str(chain.dense_artefact)
    spec = LatencySpec(artefact=file, baseline=file, data=chain.data, varies=varies)  # type: ignore[arg-type]
    with pytest.raises(DgpruneError, match=f"both arms have the same {varies}; name another"):
        cells.cells_of(spec)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch_sizes": ()}, "--batch"),
        ({"batch_sizes": (0,)}, "--batch"),
        ({"threads": 0}, "--threads 0"),
        ({"threads": 10_000}, "--threads 10000"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, int], reason: str) -> None:
    with pytest.raises(DgpruneError, match=reason):
        LatencySpec(artefact="a", data="b", **change)  # type: ignore[arg-type]


def test_two_packages_of_onnx_runtime_are_refused(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}
    monkeypatch.setattr(cells, "installed_libraries", lambda: both)
    spec = LatencySpec(artefact=str(chain.pruned_artefact), data=chain.data)
    with pytest.raises(DgpruneError, match="overwrite each other; uninstall both"):
        bench(spec, tmp_path / "r.jsonl")


def test_a_sweep_is_every_power_of_two_up_to_128() -> None:
    assert batch_sizes("sweep") == (1, 2, 4, 8, 16, 32, 64, 128)
    with pytest.raises(DgpruneError, match="neither sweep nor numbers"):
        batch_sizes("all")
