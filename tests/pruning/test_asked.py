"""What the options of `dgprune prune` ask for, before anything is cut."""

from pathlib import Path

import pytest

from dgprune import cli
from dgprune.progress import Progress
from dgprune.stage import Done
from pruning.asked import Asked
from pruning.shipped import Aim
from pruning.spec import PruneSpec


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Every call of `prune` from here on, which does nothing."""
    heard: list[Asked] = []

    def listen(asked: Asked, out: Path, invoke: object, progress: Progress) -> Done:
        heard.append(asked)
        return Done(path=out, fresh=False)

    monkeypatch.setattr("pruning.asked.prune_as_asked", listen)
    return heard


def prune(*options: str) -> int:
    return cli._exit_code(["prune", "vit_micro_patch4_32", "--data", "rotated-digits", *options])


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ((), ("dgprune", "fisher", "isomorphic", True)),
        (("--engine", "dgprune"), ("dgprune", "fisher", "isomorphic", True)),
        (("--engine", "torch-pruning"), ("torch-pruning", "hessian", "global", False)),
        (
            ("--engine", "torch-pruning", "--ranking", "isomorphic", "--criterion", "l1"),
            ("torch-pruning", "l1", "isomorphic", False),
        ),
        (("--no-refit", "--ranking", "global"), ("dgprune", "fisher", "global", False)),
    ],
)
def test_each_engine_has_defaults_of_its_own(
    asked: list[Asked], options: tuple[str, ...], cut: tuple[object, ...]
) -> None:
    assert prune(*options) == 0
    spec = asked[0].spec
    assert (spec.engine, spec.criterion, spec.ranking, spec.refit) == cut


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--refit",), "--engine torch-pruning has no refit; remove --refit"),
        (("--refit-images", "8"), "--refit-images does nothing with --engine torch-pruning"),
        (("--macs", "0.5"), "--engine torch-pruning knows --ratio only; remove --macs"),
    ],
)
def test_what_torch_pruning_cannot_do_is_refused(
    asked: list[Asked],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    reason: str,
) -> None:
    assert prune("--engine", "torch-pruning", *options) == 2
    assert not asked
    assert reason in capsys.readouterr().err


def test_a_spec_has_no_defaults_beside_those_of_the_command() -> None:
    with pytest.raises(TypeError, match="'criterion', 'ranking', and 'refit'"):
        PruneSpec()  # type: ignore[call-arg]


def test_a_latency_is_an_aim_of_its_own(
    asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune("--latency-ms", "4", "--batch", "8") == 0
    aim = asked[0].aim
    assert aim == Aim(latency_ms=4.0, batch_size=8)
    assert prune("--latency-ms", "4", "--speedup", "2") == 2
    assert "--speedup and --latency-ms exclude each other" in capsys.readouterr().err
    assert prune("--latency-ms", "4", "--engine", "torch-pruning") == 2
    assert "use dgprune with --speedup and --latency-ms" in capsys.readouterr().err


def test_a_percentage_of_the_cost_is_refused_with_what_was_meant(
    asked: list[Asked], capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--macs", "--params"):
        assert prune(option, "40") == 2
        assert "0.4 keeps 40 %" in capsys.readouterr().err
