"""Every flag has an effect: flipping it changes what is recorded."""

from pathlib import Path

import pytest

from dgprune import cli
from dgprune.artefact import open_artefact
from dgprune.checkpoint import open_checkpoint
from dgprune.errors import DgpruneError
from dgprune.records import LatencyRecord, ProfileRecord, read_records
from dgprune.stage import Done
from pruning.shipped import Aim
from tests.conftest import MICRO, TinyChain


def run(*arguments: str) -> Done:
    done = cli._step(arguments, quiet=True)
    assert isinstance(done, Done)
    return done


FINETUNE = {
    "--epochs": "2",
    "--lr": "0.01",
    "--batch-size": "3",
    "--weight-decay": "0.9",
    "--warmup-epochs": "0.1",
    "--label-smoothing": "0.4",
    "--augmentation": "none",
    "--seed": "5",
    "--image-size": "16",
    "--clip-norm": "0.01",
    "--averaging": "ema",
    "--mixup": "0.5",
    "--coral": "9",
    "--domain-balanced": "",
    "--layer-decay": "0.5",
    "--evaluate-every": "1",
    "--precision": "bf16",
}


@pytest.mark.parametrize("flag", FINETUNE)
def test_finetune_flags_change_the_training(chain: TinyChain, tmp_path: Path, flag: str) -> None:
    base = {"--epochs": "1", "--batch-size": "4", "--augmentation": "glyph", "--weights": "random"}
    common = (
        "finetune",
        MICRO,
        "--data",
        chain.data,
        "--target",
        chain.target,
        "--out",
        str(tmp_path),
    )
    texts = []
    for options in (base, {**base, flag: FINETUNE[flag]}):
        done = run(*common, *(part for pair in options.items() for part in pair if part))
        texts.append(
            (done.path / "training.json").read_text() + (done.path / "meta.json").read_text()
        )
        weights = (done.path / "weights.safetensors").read_bytes()
        texts[-1] += str(hash(weights))
    assert texts[0] != texts[1]


@pytest.mark.parametrize(
    ("flag", "value", "base"),
    [
        ("--ema-decay", "0.1", ("--averaging", "ema")),
        ("--averaging", "swad", ("--averaging", "none")),
        ("--patience", "1", ("--lr", "1e-9")),  # nothing gets better
    ],
)
def test_flags_of_averages_and_of_the_end_change_the_training(
    chain: TinyChain, tmp_path: Path, flag: str, value: str, base: tuple[str, ...]
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path))
    common = ("finetune", MICRO, *where, "--weights", "random", "--epochs", "5")
    records = [
        (run(*common, *base, *extra).path / "training.json").read_text()
        for extra in ((), (flag, value))
    ]
    assert records[0] != records[1]


@pytest.mark.parametrize("command", ["finetune", "prune"])
def test_the_protocol_changes_what_is_held_out(
    chain: TinyChain, tmp_path: Path, command: str
) -> None:
    short = {"finetune": ("--epochs", "1"), "prune": ("--criterion", "l1", "--no-refit")}[command]
    where = ("--data", chain.data, "--out", str(tmp_path), "--weights", "random", *short)
    origins = [
        open_checkpoint(run(command, MICRO, *where, *held_out).path).meta.origin
        for held_out in (("--target", "domain2"), ("--protocol", "paper-like"))
    ]
    assert [origin.target for origin in origins] == ["domain2", ""]
    assert origins[0].split_digest != origins[1].split_digest


@pytest.mark.parametrize("flag", ["--distill-weight", "--temperature", "--feature-weight"])
def test_distillation_flags_change_the_loss(chain: TinyChain, tmp_path: Path, flag: str) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path))
    common = ("finetune", str(chain.pruned), *where, "--teacher", str(chain.dense), "--epochs", "1")
    records = [
        (run(*common, *extra).path / "training.json").read_text() for extra in ((), (flag, "0.9"))
    ]
    assert records[0] != records[1]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--criterion", "random"),
        ("--ranking", "local"),
        ("--ratio", "0.3"),
        ("--macs", "0.3"),
        ("--params", "0.3"),
        ("--score-images", "8"),
        ("--seed", "3"),
        ("--runtime", "tensorrt"),
        ("--align", "mlp=24"),
        ("--floor", "mlp=200"),
        ("--drop-dependency", "residual"),
    ],
)
def test_prune_flags_change_what_is_kept(
    chain: TinyChain, tmp_path: Path, flag: str, value: str
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path))
    base = {"--criterion": "taylor", "--score-images": "2", "--ranking": "global"}
    plans = []
    for options in (base, {**base, flag: value}):
        flags = (part for pair in options.items() for part in pair)
        plans.append(
            (run("prune", str(chain.dense), *where, *flags).path / "plan.json").read_text()
        )
    assert plans[0] != plans[1]


@pytest.mark.parametrize(
    "flags", [("--no-refit",), ("--refit-images", "2"), ("--scale-attention", "reset")]
)
def test_prune_flags_change_the_weights(
    chain: TinyChain, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path))
    base = ("prune", str(chain.dense), *where, "--criterion", "l2", "--ranking", "global")
    made = [run(*base, *extra).path for extra in ((), flags)]
    weights = [(path / "weights.safetensors").read_bytes() for path in made]
    assert made[0] != made[1] and weights[0] != weights[1]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--schedule", "linear"),
        ("--step-epochs", "2"),
        ("--step-lr", "0.01"),
        ("--step-precision", "bf16"),
        ("--step-distill-weight", "0.9"),
        ("--step-temperature", "1"),
        ("--step-feature-weight", "5"),
        ("--step-feature-blocks", "2"),
    ],
)
def test_flags_of_steps_change_the_result(
    chain: TinyChain, tmp_path: Path, flag: str, value: str
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path))
    cut = ("--criterion", "l2", "--no-refit", "--steps", "2", "--augmentation", "glyph")
    taught = ("--step-feature-weight", "1")  # a second one on the same line counts
    base = ("prune", str(chain.dense), *where, *cut, *taught)
    made = [run(*base, *extra).path for extra in ((), (flag, value))]
    trained = {
        ((path / "training.json").read_text(), (path / "weights.safetensors").read_bytes())
        for path in tmp_path.glob("finetuned-*")
    }
    assert made[0] != made[1] and len(trained) == 2


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--plan", "PLAN", "--criterion", "l1"), "--criterion does nothing with --plan"),
        (("--plan", "PLAN", "--ranking", "local"), "--ranking does nothing with --plan"),
        (("--plan", "PLAN", "--engine", "dgprune"), "--engine does nothing with --plan"),
        (("--plan", "PLAN", "--score-images", "8"), "--score-images does nothing with --plan"),
        (("--plan", "PLAN", "--align", "mlp=8"), "--align does nothing with --plan"),
        (("--plan", "PLAN", "--floor", "mlp=8"), "--floor does nothing with --plan"),
        (("--plan", "PLAN", "--runtime", "openvino"), "--runtime does nothing with --plan"),
        (("--plan", "PLAN", "--drop-dependency", "residual"), "--drop-dependency does nothing"),
        (("--no-refit", "--refit-images", "8"), "--refit-images does nothing with --no-refit"),
        (("--engine", "torch-pruning", "--align", "mlp=8"), "--align does nothing with --engine"),
        (("--steps", "2", "--step-epochs", "0"), "--step-epochs 0"),
        (("--steps", "2", "--step-lr", "-1"), "--step-lr -1"),
        (("--steps", "2", "--step-distill-weight", "2"), "--step-distill-weight 2"),
        (("--steps", "2", "--step-precision", "fp8"), "--step-precision 'fp8' is none of"),
        (("--steps", "2", "--augmentation", "blur"), "--augmentation 'blur' is none of"),
        (("--steps", "2", "--step-feature-blocks", "2"), "without --step-feature-weight"),
        (
            ("--steps", "2", "--step-feature-weight", "1", "--step-feature-blocks", "9"),
            "--step-feature-blocks 9, but the model has",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    chain: TinyChain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    reason: str,
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out"))
    given = [str(chain.pruned / "plan.json") if flag == "PLAN" else flag for flag in flags]
    assert cli._exit_code(["prune", str(chain.dense), *where, *given]) == 2
    assert reason in capsys.readouterr().err


def test_a_feature_weight_needs_a_teacher(
    chain: TinyChain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out"))
    assert cli._exit_code(["finetune", str(chain.dense), *where, "--feature-weight", "1"]) == 2
    assert "--feature-weight does nothing without --teacher" in capsys.readouterr().err
    taught = (*where, "--teacher", str(chain.dense), "--feature-blocks", "2")
    assert cli._exit_code(["finetune", str(chain.pruned), *taught]) == 2
    assert "--feature-blocks does nothing without --feature-weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "owner"),
    [
        ("--batch", "8", "--speedup or --latency-ms"),
        ("--threads", "1", "--speedup or --latency-ms"),
        ("--schedule", "linear", "--steps"),
        ("--step-epochs", "2", "--steps"),
        ("--step-lr", "0.1", "--steps"),
        ("--augmentation", "none", "--steps"),
        ("--step-precision", "fp32", "--steps"),
        ("--step-distill-weight", "0.5", "--steps"),
        ("--step-temperature", "2", "--steps"),
        ("--step-feature-weight", "1", "--steps"),
        ("--step-feature-blocks", "2", "--steps"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(
    chain: TinyChain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    value: str,
    owner: str,
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out"))
    assert cli._exit_code(["prune", str(chain.dense), *where, flag, value]) == 2
    assert f"{flag} does nothing without {owner}" in capsys.readouterr().err


def test_flags_of_a_speedup_reach_the_search(
    chain: TinyChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aims: list[Aim] = []

    def search(*arguments: object) -> Done:
        aims.extend(part for part in arguments if isinstance(part, Aim))
        raise DgpruneError("seen")

    monkeypatch.setattr("pruning.asked.prune_to_speedup", search)
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out"))
    flags = ("--speedup", "2.5", "--batch", "8", "--threads", "2", "--runtime", "onnxruntime")
    assert cli._exit_code(["prune", str(chain.dense), *where, *flags]) == 2
    assert aims == [Aim(speedup=2.5, runtime="onnxruntime", batch_size=8, threads=2)]


@pytest.mark.parametrize(
    ("flag", "value", "field"),
    [
        ("--batch", "4", "batch"),
        ("--opset", "19", "opset"),
        ("--precision", "fp16", "precision"),
        ("--format", "openvino", "format"),
    ],
)
def test_export_flags_reach_the_sidecar(
    chain: TinyChain, tmp_path: Path, flag: str, value: str, field: str
) -> None:
    if value == "openvino":
        pytest.importorskip("openvino")
    where = ("--data", chain.data, "--out", str(tmp_path))
    artefact = run("export", str(chain.pruned), *where, flag, value).path
    assert str(getattr(open_artefact(artefact).artefact, field)) == value


def test_parity_images_reach_the_sidecar(chain: TinyChain, tmp_path: Path) -> None:
    where = ("--data", chain.data, "--out", str(tmp_path), "--parity-images", "1")
    artefact = run("export", str(chain.pruned), *where).path
    assert open_artefact(artefact).artefact.parity.images == 2


def test_calibration_flags_reach_the_sidecar(chain: TinyChain, tmp_path: Path) -> None:
    flags = ("--calibration-images", "4", "--calibrate-on", "domain1", "--with-preprocessing")
    where = ("--data", chain.data, "--out", str(tmp_path), "--precision", "int8")
    sidecar = open_artefact(run("export", str(chain.pruned), *where, *flags).path).artefact
    assert sidecar.calibration is not None
    assert (sidecar.calibration.images, sidecar.calibration.domains) == (4, ("domain1",))
    assert sidecar.with_preprocessing and sidecar.output_name == "probabilities"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--calibration-images", "4"), "--calibration-images does nothing for onnx fp32; remove"),
        (("--calibrate-on", "domain1"), "--calibrate-on does nothing for onnx fp32; remove"),
        (("--largest-batch", "4"), "--largest-batch is for --format tensorrt --batch dynamic"),
        (("--build", "2"), "--build is for --format tensorrt; remove it"),
        (("--format", "onxx"), "--format 'onxx' must be one of onnx, openvino, tensorrt"),
        (("--precision", "int4"), "--precision 'int4' must be one of fp32, fp16, bf16, int8"),
        (("--precision", "int8", "--calibrate-on", "domain2"), "domain2: that domain is held out"),
        (("--precision", "int8", "--calibration-images", "0"), "--calibration-images 0"),
        (("--precision", "int8", "--calibrate-on", ","), "--calibrate-on '' is no source domain"),
    ],
)
def test_export_options_that_do_nothing_or_are_wrong_are_refused(
    chain: TinyChain,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    reason: str,
) -> None:
    where = ("--data", chain.data, "--out", str(tmp_path / "out"))
    assert cli._exit_code(["export", str(chain.pruned), *where, *flags]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "bench", "profile"])
def test_runtime_flags_reach_the_record(chain: TinyChain, tmp_path: Path, command: str) -> None:
    pytest.importorskip("openvino")
    file = tmp_path / "records.jsonl"
    where = ("--data", chain.data, "--records", str(file), "--runtime", "openvino")
    more = {
        "evaluate": ("--target", chain.target),
        "bench": ("--batch", "1", "--tier", "smoke"),
        "profile": (),
    }[command]
    flags = ("--provider", "cpu", "--allow-fallback")
    run(command, str(chain.pruned_artefact), *where, *more, *flags)
    for entry in read_records(file):
        runtime = entry.record.runtime
        assert (runtime.name, runtime.provider) == ("openvino", "cpu")
        assert runtime.allow_fallback


def test_flags_of_varying_reach_the_record(chain: TinyChain, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    file = tmp_path / "records.jsonl"
    dense = str(chain.dense_artefact)
    where = ("--data", chain.data, "--records", str(file), "--batch", "1", "--tier", "smoke")
    baseline = ("--baseline", dense, "--baseline-runtime", "openvino", "--baseline-provider", "cpu")
    run("bench", dense, *where, "--vary", "runtime", *baseline)
    record = read_records(file)[-1].record
    assert isinstance(record, LatencyRecord) and record.baseline_runtime is not None
    assert (record.varies, record.runtime.name) == ("runtime", "onnxruntime")
    assert (record.baseline_runtime.name, record.baseline_runtime.provider) == ("openvino", "cpu")


def test_bench_flags_reach_the_record(chain: TinyChain, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    flags = ("--batch", "2,3", "--tier", "smoke", "--threads", "2", "--records", str(file))
    run("bench", str(chain.pruned_artefact), "--data", chain.data, *flags, "--seed", "4")
    records = [entry.record for entry in read_records(file)]
    assert all(isinstance(record, LatencyRecord) for record in records)
    found = {
        (r.batch_size, r.runtime.threads, r.spec.tier, r.baseline)
        for r in records
        if isinstance(r, LatencyRecord)
    }
    assert found == {(2, 2, "smoke", None), (3, 2, "smoke", None)}
    assert len({r.spec.seed for r in records if isinstance(r, LatencyRecord)}) == 2


def test_profile_flags_reach_the_record(chain: TinyChain, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    flags = ("--batch", "3", "--threads", "2", "--records", str(file))
    arms = (str(chain.pruned_artefact), "--baseline", str(chain.dense_artefact))
    run("profile", *arms, "--data", chain.data, *flags)
    (record,) = [entry.record for entry in read_records(file)]
    assert isinstance(record, ProfileRecord)
    assert (record.batch_size, record.runtime.threads) == (3, 2)
    assert record.baseline is not None and record.baseline.label == "dense"


@pytest.mark.parametrize("refit", ["--refit", "--no-refit"])
def test_a_plan_is_applied_as_it_is_and_refused_where_it_does_not_fit(
    chain: TinyChain, tmp_path: Path, capsys: pytest.CaptureFixture[str], refit: str
) -> None:
    where = ("--data", chain.data, "--target", chain.target, "--out", str(tmp_path / "out"))
    plan = tmp_path / "plan.json"
    plan.write_text('{"width": [0, 1], "blocks": []}')
    arguments = ["prune", str(chain.dense), *where, "--plan", str(plan), refit, "--quiet"]
    assert cli._exit_code(arguments) == 2
    assert "the plan has 0 blocks, the model 4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    plan.write_text((chain.pruned / "plan.json").read_text())
    assert cli._exit_code(arguments) == 0
    made = Path(capsys.readouterr().out.strip())
    kept = (made / "structure.json").read_text()
    assert kept == (chain.pruned / "structure.json").read_text()
