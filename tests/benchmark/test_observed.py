"""What `evaluate` observes beside accuracy: predictions, confidence, a temperature of sources."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL.Image import Image

from benchmark import accuracy
from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.subject import open_subject
from dgprune.data import DataSet, Sample
from dgprune.data.dataset import open_data
from dgprune.data.images import Images
from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord, append_records, read_records
from dgprune.runtimes.opening import runtime_spec
from export.export_checkpoint import export
from export.spec import ExportSpec
from tests.conftest import TinyChain

Change = Callable[[np.ndarray, Images], np.ndarray]


def observed(
    chain: TinyChain, records: Path, subject: Path | None = None
) -> dict[str, AccuracyRecord]:
    spec = EvaluateSpec(
        subject=str(subject or chain.dense_artefact), data=chain.data, target=chain.target
    )
    evaluate(spec, records)
    found = [entry.record for entry in read_records(records)]
    return {r.domain: r for r in found if isinstance(r, AccuracyRecord)}


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Makes every file answer otherwise."""
    answer = accuracy._logits

    def install(change: Change) -> None:
        def changed(runtime, images, setting):  # type: ignore[no-untyped-def]
            return change(answer(runtime, images, setting), images)

        monkeypatch.setattr(accuracy, "_logits", changed)

    return install


def test_predictions_confidence_and_counts_speak_of_the_same_images(
    chain: TinyChain, tmp_path: Path
) -> None:
    for record in observed(chain, tmp_path / "r.jsonl").values():
        assert record.predictions is not None
        assert record.reliability is not None
        assert len(record.predictions) == record.images == record.reliability.images
        truth = [label for label, row in enumerate(record.confusion) for _ in range(sum(row))]
        bits = f"{int(record.correct_hex, 16):0{record.images}b}"
        assert [p == t for p, t in zip(record.predictions, truth, strict=True)] == [
            bit == "1" for bit in bits
        ]  # the manifest is in order of class


def test_one_temperature_a_file_and_it_is_no_worse_on_the_sources(
    chain: TinyChain, tmp_path: Path
) -> None:
    found = observed(chain, tmp_path / "r.jsonl")
    scaled = [record.scaled for record in found.values() if record.scaled]
    assert len(scaled) == len(found) == 3
    assert len({part.temperature for part in scaled}) == 1
    sources = [record for record in found.values() if record.role == "source-val"]
    before = sum(r.reliability.nll_sum for r in sources if r.reliability)
    assert sum(r.scaled.nll_sum for r in sources if r.scaled) <= before + 1e-9


def test_the_target_cannot_influence_the_temperature(
    chain: TinyChain, tmp_path: Path, changing: Callable[[Change], None]
) -> None:
    plain = observed(chain, tmp_path / "plain.jsonl")

    def only_target(logits, images):  # type: ignore[no-untyped-def]
        return logits[:, ::-1] * 50 if images.samples[0].domain == chain.target else logits

    changing(only_target)
    changed = observed(chain, tmp_path / "changed.jsonl")
    before, after = plain[chain.target].scaled, changed[chain.target].scaled
    assert before is not None
    assert after is not None
    assert after.temperature == before.temperature
    assert after.nll_sum != before.nll_sum
    assert all(changed[d].scaled == plain[d].scaled for d in plain if d != chain.target)


def test_the_temperature_is_that_of_all_sources_and_they_are_seen_first(
    chain: TinyChain, tmp_path: Path, changing: Callable[[Change], None]
) -> None:
    order: list[str] = []

    def three_of_four(logits, images):  # type: ignore[no-untyped-def]
        order.append(images.samples[0].domain)
        answer = 2 * np.eye(2)[images.labels]  # two source domains of two validation images
        if order == ["domain0"]:
            answer[0] = answer[0, ::-1].copy()
        return answer

    changing(three_of_four)
    scaled = observed(chain, tmp_path / "r.jsonl")[chain.target].scaled
    assert scaled is not None
    assert scaled.temperature == pytest.approx(2 / np.log(3), rel=1e-3)  # 3 of 4 right: p = 3 / 4
    assert order == ["domain0", "domain1", chain.target]


def test_logits_that_are_not_finite_stay_an_error(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = open_subject(chain.dense_artefact)
    broken = np.full((4, 2), np.nan, dtype=np.float32)
    with subject.run(runtime_spec("onnx", None, None, 1, allow_fallback=False)) as opened:
        monkeypatch.setattr(type(opened), "output", lambda *_: broken)
        with pytest.raises(DgpruneError, match="not numbers"):
            observed(chain, tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists() or not read_records(tmp_path / "r.jsonl")


def test_a_fixed_batch_gives_the_same_observations(chain: TinyChain, tmp_path: Path) -> None:
    spec = ExportSpec(checkpoint=str(chain.dense), data=chain.data, batch="3")
    fixed = export(spec, tmp_path / "store").path
    there, here = (
        observed(chain, tmp_path / f"{name}.jsonl", subject)
        for name, subject in (("dynamic", chain.dense_artefact), ("fixed", fixed))
    )
    for domain, record in there.items():
        other = here[domain]
        assert record.reliability is not None
        assert other.reliability is not None
        assert other.predictions == record.predictions
        assert other.images_sha256 == record.images_sha256
        assert other.reliability.counts == record.reliability.counts
        assert other.reliability.nll == pytest.approx(record.reliability.nll, rel=1e-4)


def test_an_accuracy_of_an_older_schema_is_measured_again(chain: TinyChain, tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    for entry in read_records(chain.records):
        if isinstance(entry.record, AccuracyRecord):
            old = replace(entry.record, predictions_hex=None, reliability=None, scaled=None)
            append_records(records, "as an older version named it", [old])
    found = observed(chain, records)
    assert all(record.predictions for record in found.values())
    count = len(read_records(records))
    observed(chain, records)
    assert len(read_records(records)) == count


def test_a_stretch_of_bad_images_is_skipped_and_counted(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data set whose second half of the target cannot be read, evaluated two images at a time."""
    monkeypatch.setattr(accuracy, "_IMAGES_AT_ONCE", 2)

    def damaged(source: str) -> DataSet:
        data = open_data(source)
        bad = {s.key for s in data.of_domain(chain.target)[4:]}

        def read(sample: Sample) -> Image:
            if sample.key in bad:
                raise OSError("damaged")
            return data.read(sample)

        return replace(data, read=read, stamps={})  # not from the cache

    monkeypatch.setattr(accuracy, "open_data", damaged)
    spec = EvaluateSpec(
        subject=str(chain.dense_artefact),
        data=chain.data,
        target=chain.target,
        skip_bad_images=True,
    )
    evaluate(spec, tmp_path / "r.jsonl")
    found = {e.record.domain: e.record for e in read_records(tmp_path / "r.jsonl")}  # type: ignore[union-attr]
    target = found[chain.target]
    assert isinstance(target, AccuracyRecord)
    assert (target.images, target.skipped) == (4, 6)
