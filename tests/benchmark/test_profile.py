"""`profile` on real files: nodes told apart, calls in alternation, refusals, its record."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.cells import LatencySpec
from benchmark.profile import profile, show
from benchmark.profile_worker import BLOCK, CALLS, WARM_UP, call_in_alternation
from dgprune import cli
from dgprune.artefact import open_artefact
from dgprune.errors import DgpruneError
from dgprune.kind_table import SUM, kind_rows
from dgprune.node_times import NodeTime, seconds_by_kind
from dgprune.records import ProfileRecord, read_records
from dgprune.timing import Arm
from tests.conftest import TinyChain


def spec_of(chain: TinyChain, **change: object) -> LatencySpec:
    given: dict[str, object] = {
        "artefact": str(chain.pruned_artefact),
        "baseline": str(chain.dense_artefact),
        "data": chain.data,
        "batch_sizes": (1,),
    }
    return LatencySpec(**{**given, **change})  # type: ignore[arg-type]


def record_of(records: Path) -> ProfileRecord:
    (record,) = [e.record for e in read_records(records) if isinstance(e.record, ProfileRecord)]
    return record


@pytest.fixture(scope="module")
def profiled(chain: TinyChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = tmp_path_factory.mktemp("profile") / "records.jsonl"
    assert profile(spec_of(chain), records).fresh
    return records


def test_the_record_holds_every_call_of_every_node(profiled: Path, chain: TinyChain) -> None:
    record = record_of(profiled)
    assert record.calls == CALLS >= 30
    for nodes in (record.nodes, record.baseline_nodes):
        assert {len(node.durations_ns) for node in nodes} == {CALLS}
        times = seconds_by_kind(nodes)
        assert times["other"] <= 0.05 * sum(times.values())
    assert record.subject.sha256 == open_artefact(chain.pruned_artefact).artefact.sha256
    assert record.baseline_proof is not None and record.proof.fallbacks == ()
    assert record.environment.libraries["onnxruntime"]


def test_rows_add_up_to_the_nodes(profiled: Path) -> None:
    record = record_of(profiled)
    *rows, total = kind_rows(record)
    assert total.kind == SUM and total.share == 1
    medians = [np.median(node.durations_ns) / 1e9 for node in record.nodes]
    assert total.candidate_s == pytest.approx(sum(medians))
    assert sum(row.candidate_s for row in rows) == pytest.approx(total.candidate_s)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert total.saved_s is not None and total.baseline_s is not None
    assert total.saved_s == pytest.approx(total.baseline_s - total.candidate_s)
    assert sum(row.saved_s or 0 for row in rows) == pytest.approx(total.saved_s)


def test_nothing_saved_has_no_shares(profiled: Path) -> None:
    record = record_of(profiled)
    slower = replace(record, nodes=record.baseline_nodes)
    assert {row.share_of_saving for row in kind_rows(slower)} == {None}
    alone = replace(record, baseline=None, baseline_nodes=())
    assert {row.saved_s for row in kind_rows(alone)} == {None}


def test_profiling_twice_appends_once(
    profiled: Path, chain: TinyChain, capsys: pytest.CaptureFixture[str]
) -> None:
    text = profiled.read_text()
    again = profile(spec_of(chain), profiled)
    assert not again.fresh and profiled.read_text() == text
    show(again.summary)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "where the time of taylor-50 against dense goes, batch 1"
    assert lines[1].split()[:4] == ["kind", "dense", "share", "taylor-50"]
    assert [line.split()[0] for line in lines[2:]][:3] == ["attention", "mlp", "norm"]


def test_the_command_prints_a_table_and_the_path(
    profiled: Path, chain: TinyChain, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = [str(chain.pruned_artefact), "--baseline", str(chain.dense_artefact)]
    command = ["profile", *arms, "--data", chain.data, "--records", str(profiled)]
    assert cli._exit_code(command) == 0
    out, err = capsys.readouterr()
    assert out == f"{profiled}\n" and "of the saving" in err
    assert cli._exit_code([*command, "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert err == "" and told["baseline"] == "dense"
    assert [row["kind"] for row in told["kinds"]][-1] == "sum"


class Counted:
    """An arm that only writes down when it is called."""

    def __init__(self, name: Arm, calls: list[str]) -> None:
        self._name, self._calls = name, calls

    def infer(self, index: int) -> None:
        self._calls.append(self._name)


def test_arms_are_called_in_alternation_after_a_warm_up() -> None:
    calls: list[str] = []
    arms: tuple[Arm, Arm] = ("baseline", "candidate")
    call_in_alternation({arm: Counted(arm, calls) for arm in arms}, 3)  # type: ignore[misc]
    warm, measured = calls[: 2 * WARM_UP], calls[2 * WARM_UP :]
    assert warm == ["baseline"] * WARM_UP + ["candidate"] * WARM_UP
    blocks = [set(measured[i : i + BLOCK]) for i in range(0, len(measured), BLOCK)]
    b, c = {"baseline"}, {"candidate"}
    assert blocks == [b, c, c, b, b, c, c, b]
    assert measured.count("baseline") == CALLS


def test_a_time_below_zero_is_no_time() -> None:
    with pytest.raises(ValueError, match=">= 0"):
        NodeTime(name="a", op="Add", kind="mlp", durations_ns=(1, -1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"artefact": "CHECKPOINT", "baseline": None}, "not profiled node by node; export it"),
        ({"runtime": "torch"}, "--runtime torch does not execute onnx"),
        ({"provider": "cuda"}, "times launches, not kernels; export with --format tensorrt"),
        ({"provider": "tensorrt"}, "times launches, not kernels; export with --format tensorrt"),
    ],
)
def test_what_tells_no_node_times_is_refused(
    chain: TinyChain, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    given = {k: str(chain.pruned) if v == "CHECKPOINT" else v for k, v in change.items()}
    with pytest.raises(DgpruneError, match=reason):
        profile(spec_of(chain, **given), tmp_path / "r.jsonl")
    assert not (tmp_path / "r.jsonl").exists()
