"""`make bench-compare`: its exit codes on invented samples, what it refuses, and one real run."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dgprune.errors import DgpruneError
from dgprune.records import LatencyRecord, read_records
from dgprune.timing import TimedBlock
from tests.benchmarks import compare as module
from tests.benchmarks.artefacts import RUNTIMES, Arms, Size
from tests.benchmarks.compare import (
    Measure,
    Measured,
    Pair,
    compare,
    main,
    maker,
    outcome,
    present,
    timed,
)
from tests.benchmarks.trees import ROOT, commit_of, is_dirty, worktree
from tests.conftest import MICRO, TinyChain

PAIR = Pair(runtime="onnxruntime", arm="dense", base=Path("base"), head=Path("head"))
SAMPLES_NS = {"baseline": 1_000_000, "candidate": 1_000_000}


@pytest.fixture(scope="session")
def record(chain: TinyChain) -> LatencyRecord:
    found = [entry.record for entry in read_records(chain.records)]
    return next(r for r in found if isinstance(r, LatencyRecord) and r.subject.label != "dense")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of two commits of one file."""
    root = tmp_path / "repository"
    root.mkdir()
    run_git(root, "init", "--quiet")
    for number in range(2):
        (root / "file.txt").write_text(f"{number}\n")
        run_git(root, "add", "file.txt")
        run_git(root, "commit", "--quiet", "--message", f"number {number}")
    return root


def run_git(root: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


def invented(record: LatencyRecord, speedup: float, noise: float = 0.0) -> LatencyRecord:
    """Twelve ABBA rounds in which the candidate is `speedup` times as fast, give or take noise."""
    blocks = []
    for number in range(12):
        wobble = 1 + noise * (-1) ** number
        head_ns = round(SAMPLES_NS["candidate"] / speedup * wobble)
        base = TimedBlock(arm="baseline", round=number, durations_ns=(SAMPLES_NS["baseline"],) * 5)
        head = TimedBlock(arm="candidate", round=number, durations_ns=(head_ns,) * 5)
        blocks += [base, head, head, base]
    replica = replace(record.replicas[0], blocks=tuple(blocks), void=(), stationary=True)
    return replace(record, replicas=(replica,))


def level(record: LatencyRecord) -> LatencyRecord:
    """Its A/A control, which holds."""
    return invented(replace(record, subject=record.baseline or record.subject), 1.0)


@pytest.mark.parametrize(
    ("speedup", "noise", "word", "code"),
    [
        (0.9, 0.0, "SLOWER", 1),
        (0.5, 0.1, "SLOWER", 1),  # imprecise, and far below 1
        (1.1, 0.0, "FASTER", 0),
        (1.0, 0.0, "EQUIVALENT", 0),
        (1.0, 0.3, "INCONCLUSIVE", 0),
        (0.9, 0.3, "INCONCLUSIVE", 0),
    ],
)
def test_only_slower_fails(
    record: LatencyRecord, speedup: float, noise: float, word: str, code: int
) -> None:
    found = outcome(PAIR, lambda pair: (invented(record, speedup, noise), level(record)))
    assert found.exit_code == code
    assert found.line.startswith(f"onnxruntime dense: {word}, ")
    assert "1.000 ms, " in found.line
    assert "\n" not in found.line


def test_the_same_file_on_both_sides_is_noise_and_no_verdict(record: LatencyRecord) -> None:
    same = replace(record, baseline=record.subject)
    found = outcome(PAIR, lambda pair: (invented(same, 0.9), None))
    assert found.exit_code == 0
    assert "SAME FILE" in found.line
    assert "SLOWER" not in found.line


def test_a_failed_control_takes_the_verdict_away(record: LatencyRecord) -> None:
    control = invented(replace(record, subject=record.baseline or record.subject), 0.9)
    assert control.is_control
    found = outcome(PAIR, lambda pair: (invented(record, 0.9), control))
    assert found.exit_code == 0
    assert "INCONCLUSIVE" in found.line
    assert "the A/A control failed" in found.line


def test_without_a_control_there_is_no_verdict(record: LatencyRecord) -> None:
    found = outcome(PAIR, lambda pair: (invented(record, 0.9), None))
    assert found.exit_code == 0
    assert "INCONCLUSIVE" in found.line and "no A/A control, so no verdict" in found.line


def test_a_process_that_died_is_no_pass(record: LatencyRecord) -> None:
    died = replace(record, replicas=(), failures=("process 1: died of SIGSEGV",))
    found = outcome(PAIR, lambda pair: (died, None))
    assert found.exit_code == 2
    assert found.line.startswith("onnxruntime dense: NOT MEASURED, process 1: died of SIGSEGV")


def test_files_that_cannot_be_compared_are_told_and_fail() -> None:
    def measure(pair: Pair) -> Measured:
        raise DgpruneError("the arms differ in opset (20 against 18)")

    found = outcome(PAIR, measure)
    assert found.exit_code == 2
    assert found.line == "onnxruntime dense: REFUSED, the arms differ in opset (20 against 18)"


def made_by(trees: list[str]) -> Callable[[Path, Path], Arms]:
    """Makes nothing, and notes which commit's file each side saw."""

    def make(tree: Path, out: Path) -> Arms:
        trees.append((tree / "file.txt").read_text().strip())
        return {"onnxruntime": {"dense": out / "dense", "pruned": out / "pruned"}}

    return make


def slower_when_pruned(record: LatencyRecord) -> Measure:
    control = level(record)
    return lambda pair: (invented(record, 0.9 if pair.arm == "pruned" else 1.0), control)


def test_one_slower_pair_fails_all_and_the_other_is_told(
    record: LatencyRecord, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees: list[str] = []
    code = compare("HEAD~1", made_by(trees), slower_when_pruned(record), repository)
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert trees == ["0", "1"]
    assert lines[0].startswith("base ")
    assert [line.split(",")[0] for line in lines[1:]] == [
        "onnxruntime dense: EQUIVALENT",
        "onnxruntime pruned: SLOWER",
    ]


def test_the_tree_of_base_is_removed_even_where_it_cannot_make_its_side(repository: Path) -> None:
    seen: list[Path] = []

    def make(tree: Path, out: Path) -> Arms:
        seen.append(tree)
        raise DgpruneError("an older command line")

    with pytest.raises(DgpruneError, match="older command line"):
        compare("HEAD~1", make, timed(repository / "r", "smoke"), repository)
    assert not seen[0].exists()
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_code_that_cannot_make_the_files_is_one_clear_line(
    repository: Path, tmp_path: Path
) -> None:
    make = maker(Size(model=MICRO, image_size_px=32), ("torch",))
    with worktree(repository, commit_of(repository, "HEAD")) as tree:
        with pytest.raises(DgpruneError, match="cannot make the files to compare: ") as told:
            make(tree, tmp_path / "out")
    assert "\n" not in str(told.value)


def test_what_is_no_commit_and_what_is_no_repository_are_told(
    repository: Path, tmp_path: Path
) -> None:
    for ref in ("", "no-such-branch", "--help"):
        with pytest.raises(DgpruneError, match=f"BASE={ref} is no commit here; git fetch it"):
            commit_of(repository, ref)
    shutil.copytree(repository, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
    with pytest.raises(DgpruneError, match="plain is not a git repository; clone it"):
        commit_of(tmp_path / "plain", "HEAD")


def test_a_changed_file_is_seen(repository: Path) -> None:
    assert not is_dirty(repository)
    (repository / "file.txt").write_text("2\n")
    assert is_dirty(repository)


def test_git_that_is_missing_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DgpruneError, match="git is not installed"):
        is_dirty(repository)


def test_a_runtime_that_is_not_installed_is_left_out_and_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "installed", lambda names: tuple(n for n in names if n == "torch"))
    assert present(RUNTIMES) == ("torch",)
    assert "openvino: not installed here, left out" in capsys.readouterr().out
    with pytest.raises(DgpruneError, match="no runtime to compare on"):
        present(("openvino",))


def test_the_command_prints_one_line_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records.jsonl")
    assert main(["no-such-branch", "--tier", "smoke"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone")
def test_a_commit_against_itself_for_real(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = maker(Size(model=MICRO, image_size_px=32), ("torch",))
    records = tmp_path / "records.jsonl"

    def one_arm(tree: Path, out: Path) -> Arms:
        return {"torch": {"dense": make(tree, out)["torch"]["dense"]}}

    code = compare("HEAD", one_arm, timed(records, "smoke"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["torch dense"]
    for entry in read_records(records):
        assert isinstance(entry.record, LatencyRecord)
        assert entry.record.baseline is not None
        assert entry.record.baseline.structure == entry.record.subject.structure
    assert code == 0 or any("SLOWER" in line for line in lines)
