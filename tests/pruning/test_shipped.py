"""What `bench` gives no verdict on: measured again, told, and not kept; a latency as the aim."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgprune.errors import DgpruneError
from dgprune.latency_table import open_measurements
from dgprune.models import create, structure_of
from dgprune.reached import Reached, read_reached, save_reached
from dgprune.records import LatencyRecord, append_records
from dgprune.source import SourceSpec
from dgprune.stage import Done
from dgprune.structure import Structure
from dgprune.timing import Replica
from pruning.plan import Plan, everything
from pruning.shipped import Aim, Shipped
from tests.conftest import MICRO
from tests.fakes.machines import DISTURBANCES, NoisyMachine, voided
from tests.fakes.many_records import read_template


def replicas(ratio: float, void: float = 0.0) -> tuple[Replica, ...]:
    machine = NoisyMachine(0, ratio, DISTURBANCES["white noise"])
    return voided(machine.paired("smoke"), void)


class Bench:
    """`bench` on a machine that is made up: what it measures of the control and of the file."""

    def __init__(self, *runs: tuple[tuple[Replica, ...], tuple[Replica, ...]]) -> None:
        self.runs: Iterator[tuple[tuple[Replica, ...], tuple[Replica, ...]]] = iter(runs)
        self.files: list[str] = []

    def __call__(self, arguments: Sequence[str]) -> Done:
        assert arguments[0] == "bench"
        records = Path(arguments[arguments.index("--records") + 1])
        dense = Path(arguments[arguments.index("--baseline") + 1]).name
        for name, found in zip((dense, Path(arguments[1]).name), next(self.runs), strict=True):
            append_records(records, name, [self.record(name, dense, found)])
        self.files.append(records.name)
        return Done(path=records, fresh=True)

    def record(self, name: str, dense: str, found: tuple[Replica, ...]) -> LatencyRecord:
        template = read_template()
        return replace(
            template,
            subject=replace(template.subject, sha256=name),
            baseline=replace(template.subject, sha256=dense),
            replicas=found,
            spec=replace(template.spec, replicas=1),
        )


class Exported(Shipped):
    """Every plan is a folder, named by whether it cuts."""

    def _export(self, plan: Plan) -> Path:
        return self.folder / ("dense" if plan == everything(self.dense) else "pruned")


@pytest.fixture
def structure(monkeypatch: pytest.MonkeyPatch) -> Structure:
    def opened(path: Path) -> SimpleNamespace:
        return SimpleNamespace(artefact=SimpleNamespace(sha256=path.name))

    monkeypatch.setattr("pruning.shipped.open_artefact", opened)
    return structure_of(create(MICRO, num_classes=10, image_size=None), MICRO)


def shipped(structure: Structure, folder: Path, bench: Bench) -> Shipped:
    source = SourceSpec(model=MICRO, data="rotated-digits", target="rot75")
    aim = Aim(speedup=2.0)
    return Exported(source=source, dense=structure, aim=aim, folder=folder, invoke=bench)


def cut(structure: Structure) -> Plan:
    plan = everything(structure)
    return replace(plan, width=plan.width[:16])


EQUAL = replicas(1.0)
DOUBTS = {
    "more than a fifth of the rounds are void": (EQUAL, replicas(2.0, void=0.5)),
    "the A/A control failed": (replicas(1.1), replicas(2.0)),
    "0 of 1 processes of the A/A control measured": ((), replicas(2.0)),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_has_no_verdict_is_measured_again_and_not_kept(
    structure: Structure, tmp_path: Path, doubt: str
) -> None:
    bench = Bench(DOUBTS[doubt], DOUBTS[doubt])
    timing = shipped(structure, tmp_path, bench)
    measurements = open_measurements("here", tmp_path / "cache")
    found = measurements.of("a", lambda: timing.speedup(cut(structure)))
    assert found.doubt is not None and doubt in found.doubt
    assert found.interval.estimate == pytest.approx(2.0, rel=0.02)
    assert len(set(bench.files)) == 2  # a new file: the control is measured again too
    assert measurements.of("a", lambda: pytest.fail("again")) == found  # known to this search
    assert open_measurements("here", tmp_path / "cache").known == {}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_second_measurement_without_doubt_is_kept(
    structure: Structure, tmp_path: Path, doubt: str
) -> None:
    bench = Bench(DOUBTS[doubt], (EQUAL, replicas(2.0)))
    timing = shipped(structure, tmp_path, bench)
    measurements = open_measurements("here", tmp_path / "cache")
    assert measurements.of("a", lambda: timing.speedup(cut(structure))).doubt is None
    assert list(open_measurements("here", tmp_path / "cache").known) == ["a"]


def test_a_few_void_rounds_are_no_doubt(structure: Structure, tmp_path: Path) -> None:
    bench = Bench((EQUAL, replicas(2.0, void=0.1)))
    assert shipped(structure, tmp_path, bench).speedup(cut(structure)).doubt is None


def test_the_latency_of_the_dense_model_is_that_of_its_control(
    structure: Structure, tmp_path: Path
) -> None:
    timed = shipped(structure, tmp_path, Bench((EQUAL, EQUAL))).dense_ms()
    assert timed.interval.estimate == pytest.approx(5.0, rel=0.02)
    aim = Aim(latency_ms=2.0).over(timed.interval.estimate)
    assert aim.speedup == pytest.approx(2.5, rel=0.02)
    assert aim.asked()["latency_ms"] == 2.0 and "speedup" not in aim.asked()
    assert (aim.budget, Aim(speedup=2.5).budget) == ("2ms", "2.5x")


@pytest.mark.parametrize(("wanted", "says"), [(5.0, "ask for less"), (0.001, "ask for more")])
def test_a_latency_that_needs_no_cut_or_that_none_reaches_is_refused(
    wanted: float, says: str
) -> None:
    with pytest.raises(DgpruneError, match=f"runs in 4.2 ms on onnxruntime at batch 8.*{says}"):
        Aim(latency_ms=wanted, batch_size=8).over(4.2)


def test_a_typed_speedup_is_kept_as_it_always_was() -> None:
    assert Aim(speedup=2.0).asked() == {
        "speedup": 2.0,
        "runtime": "onnxruntime",
        "batch_size": 1,
        "threads": 1,
        "tier": "smoke",
    }


def test_what_was_reached_is_kept_beside_the_checkpoint(tmp_path: Path) -> None:
    assert read_reached(tmp_path) is None
    reached = Reached(
        runtime="onnxruntime",
        batch_size=1,
        threads=1,
        tier="smoke",
        low=2.041,
        estimate=2.06,
        high=2.09,
    )
    assert reached.text == "2.06x [2.04, 2.09] on onnxruntime, batch 1"
    in_doubt = replace(reached, latency_ms=3.4123, doubt="processes died")
    assert in_doubt.text.endswith("batch 1, 3.41 ms (no verdict: processes died)")
    for each in (reached, in_doubt):
        save_reached(tmp_path, each)
        assert read_reached(tmp_path) == each
    (tmp_path / "reached.json").write_text("{}")
    with pytest.raises(DgpruneError, match="reached.json"):
        read_reached(tmp_path)
