"""Scores are computed once for all cuts of a model, by one process, and never read damaged."""

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from dgprune.source import SourceSpec
from pruning import prune_checkpoint
from pruning import spec as spec_module
from pruning.budgets import Budget
from pruning.criteria import score
from pruning.prune_checkpoint import PLAN, prune
from pruning.ranking import UnitScores
from pruning.shared_scores import shared_scores
from pruning.spec import PruneSpec
from tests.conftest import TinyChain

ASKED = {"criterion": "l1", "model": "a"}


def scores(value: float = 1.0, *, missed: bool = False) -> UnitScores:
    parts = tuple(np.full((2, 3), value + i) for i in range(12))  # more than ten: sorted by number
    return UnitScores(
        width=np.full(4, value), qk=parts, value=parts, mlp=parts, width_after=np.ones(4) * missed
    )


def equal(one: UnitScores, other: UnitScores) -> bool:
    return all(
        np.array_equal(np.stack(getattr(one, name)), np.stack(getattr(other, name)))
        for name in ("width", "qk", "value", "mlp", "width_after")
    )


def never() -> UnitScores:
    raise AssertionError("computed again")


def test_what_is_read_is_what_was_computed(tmp_path: Path) -> None:
    first = shared_scores(tmp_path, ASKED, lambda: scores(missed=True))
    assert equal(first, shared_scores(tmp_path, ASKED, never))
    assert not list(tmp_path.glob("*.lock"))


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="computed again"):
        shared_scores(tmp_path, ASKED, never)
    assert list(tmp_path.iterdir()) == []


def test_other_scores_have_another_name(tmp_path: Path) -> None:
    shared_scores(tmp_path, ASKED, scores)
    other = shared_scores(tmp_path, {**ASKED, "model": "b"}, lambda: scores(2.0))
    assert other.width[0] == 2
    assert len(list(tmp_path.glob("scores-l1-*.safetensors"))) == 2


@pytest.mark.parametrize("damage", ["torn", "empty", "foreign"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: str) -> None:
    shared_scores(tmp_path, ASKED, scores)
    (path,) = tmp_path.glob("scores-*")
    if damage == "foreign":
        shared_scores(tmp_path, {**ASKED, "model": "b"}, lambda: scores(2.0))
        (other,) = set(tmp_path.glob("scores-*")) - {path}
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(path.read_bytes()[:-5] if damage == "torn" else b"")
    assert shared_scores(tmp_path, ASKED, lambda: scores(3.0)).width[0] == 3


def test_one_computes_while_the_others_wait(tmp_path: Path) -> None:
    computed: list[int] = []

    def slow() -> UnitScores:
        computed.append(1)
        time.sleep(0.2)
        return scores()

    threads = [
        threading.Thread(target=shared_scores, args=(tmp_path, ASKED, slow)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1


def test_two_ratios_score_once_and_a_fresh_store_gives_the_same_plan(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    calls: list[str] = []

    def counted(groups, criterion, *more, **options):  # type: ignore[no-untyped-def]
        calls.append(criterion)
        return score(groups, criterion, *more, **options)

    monkeypatch.setattr(prune_checkpoint, "score", counted)

    def plan(ratio: float, criterion: str, store: str) -> str:
        budget = Budget(kind="ratio", value=ratio)
        spec = PruneSpec(
            criterion=criterion,  # type: ignore[arg-type]
            ranking="global",
            refit=False,
            budget=budget,
            score_images=4,
        )
        return (prune(source, spec, tmp_path / store).path / PLAN).read_text()

    shared = [plan(ratio, "taylor", "shared") for ratio in (0.3, 0.6)]
    assert calls == ["taylor"]
    plan(0.3, "l1", "shared")
    assert calls == ["taylor", "l1"]
    assert shared[1] == plan(0.6, "taylor", "alone")
    assert shared[0] != shared[1]


def test_a_cut_is_the_same_whether_scores_are_computed_or_read(
    chain: TinyChain, tmp_path: Path
) -> None:
    """The refit gathers its moments through the same attention in both."""
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)
    spec = PruneSpec(
        criterion="taylor", score_images=8, refit_images=64, ranking="global", refit=False
    )

    def weights() -> bytes:
        folder = prune(source, spec, tmp_path / "store").path
        found = (folder / "weights.safetensors").read_bytes()
        shutil.rmtree(folder)
        return found

    first, again = weights(), weights()
    assert len(list((tmp_path / "store").glob("scores-taylor-*"))) == 1
    assert again == first


def test_what_was_made_of_images_of_another_dealing_is_not_found(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceSpec(model=str(chain.dense), data=chain.data, target=chain.target)

    def made(criterion: str, *, refit: bool) -> str:
        spec = PruneSpec(
            criterion=criterion,  # type: ignore[arg-type]
            ranking="global",
            score_images=4,
            refit=refit,
            refit_images=4,
        )
        return prune(source, spec, tmp_path).path.name

    asked = (("taylor", False), ("taylor", True), ("l1", True), ("l1", False))
    now = [made(criterion, refit=refit) for criterion, refit in asked]
    for module in (spec_module, prune_checkpoint):
        monkeypatch.setattr(module, "DEALING", 1)
    before = [made(criterion, refit=refit) for criterion, refit in asked]
    assert [a == b for a, b in zip(now, before, strict=True)] == [False, False, False, True]
    assert len(list(tmp_path.glob("scores-taylor-*"))) == 2
