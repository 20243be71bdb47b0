"""The stage `finetune`: from a model or checkpoint to a fine-tuned checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.checkpoint import load_model, open_checkpoint, save_checkpoint
from dgprune.data import Purpose, load_images
from dgprune.data.images import Loading
from dgprune.errors import DgpruneError, LeakError
from dgprune.lineage import ORACLE, Origin, chosen_by_oracle, next_step
from dgprune.models import rebuild, structure_of
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, canonical_json, decode, read_json
from dgprune.source import Source, SourceSpec, open_source
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from pruning.training import Task, TrainingRecord, TrainSpec, train

TRAINING = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSpec:
    """What to fine-tune, on what, how, and under which teacher (a checkpoint folder)."""

    source: SourceSpec
    train: TrainSpec
    teacher: str | None = None


def finetune(spec: FinetuneSpec, out: Path, progress: Progress = SILENT) -> Done:
    """A checkpoint folder under `out`; what is held out is never loaded."""
    source = open_source(spec.source)
    teacher = open_checkpoint(Path(spec.teacher)) if spec.teacher else None
    if teacher is None and spec.train.feature_weight:
        raise DgpruneError("--feature-weight does nothing without --teacher; add that")
    if teacher is not None:
        _require_same_task(teacher.meta.origin, source.origin)
    asked: Json = {**spec.train.asked(), "teacher": teacher.meta.digest if teacher else None}
    if teacher is not None and chosen_by_oracle(teacher.meta.lineage):
        asked["teacher_selection"] = ORACLE
    if spec.source.skip_bad_images:
        asked["skip_bad_images"] = True
    step = next_step(source.lineage, "finetune", asked, source.origin)

    def build(folder: Path) -> None:
        progress.line(
            f"fine-tuning {source.label} on {source.data.name} without {source.origin.held_out}"
        )
        model = source.load()
        task = _task(source, spec.source.skip_bad_images, progress)
        if teacher is not None:
            task = Task(
                train=task.train,
                validation=task.validation,
                preprocessing=task.preprocessing,
                teacher=load_model(teacher),
            )
        best, record = train(model, task, spec.train, progress)
        (folder / TRAINING).write_text(canonical_json(record) + "\n")
        save_checkpoint(
            folder,
            rebuild(structure_of(model, source.origin.model), best),
            digest=step.digest,
            label=source.label,
            lineage=(*source.lineage, step),
            origin=source.origin,
        )

    with store_at(out) as store:
        source.split.require_intact(store)
        folder = store / f"finetuned-{source.label}-{step.digest[:12]}"
        done = run_stage(folder, open_checkpoint, build, progress)
        source.split.save(store)
    return Done(path=done.path, fresh=done.fresh, summary=_summary(done.path))


def _require_same_task(teacher: Origin, student: Origin) -> None:
    if teacher.target != student.target:
        raise LeakError(
            f"--teacher was made without {teacher.held_out} and has seen what the model must not "
            f"({student.held_out}); train a teacher under the same --target and --protocol"
        )
    for part in ("classes", "data_digest", "split_digest", "preprocessing"):
        if getattr(teacher, part) != getattr(student, part):
            raise DgpruneError(
                f"--teacher has another {part} than the model: {getattr(teacher, part)} "
                f"against {getattr(student, part)}; train it on the same split and input"
            )


def _task(source: Source, skip_bad_images: bool, progress: Progress) -> Task:
    loading = Loading(split=source.split, skip_bad_images=skip_bad_images, progress=progress)
    preprocessing = source.origin.preprocessing
    train_images = load_images(
        source.data, source.split.train, preprocessing, purpose=Purpose.TRAIN, loading=loading
    )
    seen = set(train_images.labels.tolist())
    unseen = [name for label, name in enumerate(source.origin.classes) if label not in seen]
    if unseen:
        raise DgpruneError(f"class {unseen[0]!r} has no image in any source domain; add some")
    return Task(
        train=train_images,
        validation=load_images(
            source.data,
            source.split.validation,
            preprocessing,
            purpose=Purpose.SELECT,
            loading=loading,
        ),
        preprocessing=preprocessing,
    )


def _summary(folder: Path) -> Json:
    path = folder / TRAINING
    record = decode(TrainingRecord, read_json(path), where=str(path))
    best = record.epochs[record.chosen]
    return {
        "epochs": len(record.epochs),
        "chosen_epoch": record.chosen + 1,
        "source_val_accuracy": best.score,
        "per_domain": best.source_val,
    }
