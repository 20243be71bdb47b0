"""Cost curve and speed at the paper's size: what is cut and timed, and what the pages say."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgprune.models import bare_model, structure_of
from dgprune.records import LatencyRecord, Record
from dgprune.structure import Structure, cost_of
from pruning.plan import check
from pruning.planning import structure_after
from tests.benchmarks import base_speed, cost_curve, timed
from tests.benchmarks.cost_curve_page import AXES, point_of, write_page
from tests.fakes.sweep_files import File, Sweep, subject_of
from tests.fakes.sweeps import latency_of, write_records

MODEL = "vit_tiny_patch16_224"
DENSE = File(target="c", seed=0, runtime="onnxruntime", precision="fp32")


@pytest.fixture(scope="module")
def structure() -> Structure:
    return structure_of(bare_model(MODEL), MODEL)


def timing_of(dense: Structure, cut: Structure | None, speedup: float, batch: int) -> LatencyRecord:
    """A record in which `cut`, or the dense file itself, is `speedup` times as fast."""
    criterion = "l2" if cut else ""
    file = replace(DENSE, criterion=criterion, speedup=speedup, place=batch)
    sweep = Sweep()
    record = latency_of(sweep, file, subject_of(sweep, file), batch)
    assert record.baseline is not None
    baseline = replace(record.baseline, structure=dense, label="l2-0")
    if cut is None:
        return replace(record, baseline=baseline, subject=baseline)
    subject = replace(record.subject, structure=cut, label="l2-0+tp-hessian-50")
    return replace(record, baseline=baseline, subject=subject)


def test_every_cut_leaves_all_axes_but_one_whole(structure: Structure) -> None:
    whole = structure.blocks[0]
    dense = (structure.embed_dim, whole.num_heads, whole.head_dim, whole.mlp_hidden)
    seen = set()
    for sizes in cost_curve.cuts(structure):
        plan = cost_curve.plan_of(sizes, len(structure.blocks))
        check(plan, structure)
        left = structure_after(plan, structure)
        block = left.blocks[0]
        found = (left.embed_dim, block.num_heads, block.head_dim, block.mlp_hidden)
        (axis,) = (name for name, a, b in zip(AXES, dense, found, strict=True) if a != b)
        units = found[AXES.index(axis)]
        seen.add((axis, axis == "heads" or units % 8 == 0))
    assert seen == {(axis, True) for axis in AXES} | {(axis, False) for axis in AXES[:1] + AXES[2:]}


def test_what_would_keep_an_axis_whole_is_no_cut(structure: Structure) -> None:
    two = replace(structure, blocks=(replace(structure.blocks[0], num_heads=2),) * 12)
    heads = [sizes.heads for sizes in cost_curve.cuts(two) if sizes.width == two.embed_dim]
    assert heads.count(1) == 1 and set(heads) == {1, 2}
    assert all(
        cost_curve.Sizes(width=192, heads=2, head_dim=64, mlp=768) != sizes
        for sizes in cost_curve.cuts(two)
    )


def test_the_page_of_a_cost_curve_says_what_the_records_say(
    structure: Structure, tmp_path: Path
) -> None:
    sizes = next(s for s in cost_curve.cuts(structure) if s.mlp < structure.blocks[0].mlp_hidden)
    cut = structure_after(cost_curve.plan_of(sizes, len(structure.blocks)), structure)
    record = timing_of(structure, cut, 1.25, 1)
    point = point_of(record)
    kept = cost_of(cut).macs_per_image / cost_of(structure).macs_per_image
    assert (point.axis, point.units, point.macs) == ("MLP", sizes.mlp, kept)
    assert point.time.estimate == pytest.approx(0.8, rel=1e-3)
    assert point.exchange == pytest.approx(0.2 / (1 - kept), rel=1e-2)
    control = timing_of(structure, None, 1.0, 1)
    records = write_records(tmp_path / "records.jsonl", [control, record])
    write_page(records, tmp_path / "page")
    text = (tmp_path / "page" / "README.md").read_text()
    assert f"| onnxruntime | MLP | {sizes.mlp} of 768 | {kept:.1%} | 80.0% |" in text
    assert "against itself 1.000" in text
    assert (tmp_path / "page" / "cost-curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_of_base_models_has_a_column_a_runtime_and_batch(
    structure: Structure, tmp_path: Path
) -> None:
    cut = structure_after(cost_curve.plan_of(next(cost_curve.cuts(structure)), 12), structure)
    model = base_speed.MODELS[0]
    records: list[Record] = [
        timing_of(structure, None, 1.0, 1),
        timing_of(structure, cut, 1.5, 1),
        timing_of(structure, cut, 2.0, 8),
    ]
    write_records(tmp_path / f"{model}.jsonl", records)
    base_speed.page(tmp_path, tmp_path / "page")
    text = (tmp_path / "page" / "README.md").read_text()
    assert "onnxruntime, batch 1 | onnxruntime, batch 8" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| tp-hessian-50"))
    assert "1.50x" in row and "2.00x" in row
    (row,) = (line for line in text.splitlines() if line.startswith("| dense"))
    assert row.endswith("| not measured |")
    assert base_speed.MODELS[1] not in text


def test_the_page_of_base_models_says_which_machine_measured_which_batch(
    structure: Structure, tmp_path: Path
) -> None:
    model = base_speed.MODELS[0]
    first, second = timing_of(structure, None, 1.0, 1), timing_of(structure, None, 1.0, 8)
    other = replace(second, environment=replace(second.environment, cpu="another processor"))
    cut = replace(timing_of(structure, structure, 1.5, 1), environment=other.environment)
    here, name, on = first.environment.cpu, base_speed._label(cut), first.runtime.name
    assert name != "dense"
    for records, told in (
        ([first, second], f"\n{here}.\n"),
        ([first, other], f"{on} batch 1: {here}; {on} batch 8: another processor.\n"),
        (
            [first, cut],
            f"{on} batch 1 (dense): {here}; {on} batch 1 ({name}): another processor.\n",
        ),
    ):
        path = tmp_path / f"{model}.jsonl"
        path.unlink(missing_ok=True)
        write_records(path, list(records))
        base_speed.page(tmp_path, tmp_path / "page")
        assert told in (tmp_path / "page" / "README.md").read_text()


def test_what_was_timed_is_not_timed_again(
    structure: Structure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = timing_of(structure, structure, 1.5, 1)
    records = write_records(tmp_path / "records.jsonl", [record])
    commands: list[Sequence[str]] = []
    opened = SimpleNamespace(artefact=SimpleNamespace(sha256=record.subject.sha256))
    monkeypatch.setattr(timed, "open_artefact", lambda _: opened)
    monkeypatch.setattr(timed, "invoke", commands.append)
    timing = timed.Timing(records=records, baseline=Path("dense"), batches=(1, 8))
    timing.time(Path("cut"))
    asked = [(c[c.index("--runtime") + 1], c[c.index("--batch") + 1]) for c in commands]
    assert asked == [("onnxruntime", "8"), ("openvino", "1,8")]
