"""The stage `finetune`: from a model or checkpoint to a fine-tuned checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgprune.checkpoint import Checkpoint, load_model, open_checkpoint, save_checkpoint
from dgprune.data import Images, Purpose, Sample, load_images
from dgprune.data.images import Loading
from dgprune.errors import DgpruneError, LeakError
from dgprune.lineage import ORACLE, LineageStep, Origin, chosen_by_oracle, next_step
from dgprune.models import Transformer, Weights, rebuild, structure_of
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, canonical_json, decode, read_json
from dgprune.source import Source, SourceSpec, open_source
from dgprune.stage import Done, run_stage
from dgprune.store import new_folder, store_at
from dgprune.structure import Structure
from pruning.processes import Processes, count_of_processes, joined_processes
from pruning.resume import Resume
from pruning.sources_check import require_every_domain, require_sources
from pruning.training import Task, train
from pruning.training_record import Diverged, TrainingRecord
from pruning.training_spec import TrainSpec

TRAINING = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSpec:
    """What to fine-tune, on what, how, and under which teacher (a checkpoint folder)."""

    source: SourceSpec
    train: TrainSpec
    teacher: str | None = None


def finetune(spec: FinetuneSpec, out: Path, progress: Progress = SILENT) -> Done:
    """A checkpoint folder under `out`; what is held out is never loaded.

    Killed, the same call goes on where it was. Started by `torchrun`, all processes share each step
    and the first one writes. Raises DgpruneError where the loss stops being a number; the weights
    of the best evaluation before are kept in a folder `diverged-...`.
    """
    source = open_source(spec.source)
    require_sources(spec.train, source.split.train, count_of_processes())
    teacher = open_checkpoint(Path(spec.teacher)) if spec.teacher else None
    if teacher is None and spec.train.feature_weight:
        raise DgpruneError("--feature-weight does nothing without --teacher; add that")
    if teacher is not None and not spec.train.follows_teacher:
        raise DgpruneError(
            "--teacher does nothing with --distill-weight 0 and no --feature-weight; raise one of "
            "them, or remove it"
        )
    if teacher is not None:
        _require_same_task(teacher.meta.origin, source.origin)
    step = next_step(source.lineage, "finetune", _asked(spec, teacher), source.origin)
    stage = _Stage(spec=spec, source=source, teacher=teacher, step=step, progress=progress)
    with joined_processes() as processes:
        if processes.rank > 0:
            return stage.help(out, processes)
        with store_at(out) as store:
            source.split.require_intact(store)
            folder = store / f"finetuned-{source.label}-{step.digest[:12]}"
            resumed = stage.resume(store).path.is_file()
            processes.wait()
            done = run_stage(
                folder, open_checkpoint, lambda made: stage.build(made, store, processes), progress
            )
            source.split.save(store)
            stage.resume(store).clear()
            processes.wait()
    return replace(done, resumed=done.fresh and resumed, summary=_summary(done.path))


def _asked(spec: FinetuneSpec, teacher: Checkpoint | None) -> Json:
    asked: Json = {**spec.train.asked(), "teacher": teacher.meta.digest if teacher else None}
    if teacher is not None and chosen_by_oracle(teacher.meta.lineage):
        asked["teacher_selection"] = ORACLE
    if spec.source.skip_bad_images:
        asked["skip_bad_images"] = True
    if count_of_processes() > 1:  # each draws its own views
        asked["processes"] = count_of_processes()
        asked["shares"] = "of neighbours"  # it was every n-th image, of one domain where balanced
    return asked | _revised(spec.train)


def _revised(train: TrainSpec) -> Json:
    """What these options do since it was changed: what they made before has another name."""
    return {
        **({"valley": "of Algorithm 1"} if train.averaging == "swad" else {}),
        **({"warmup": "none"} if not train.warmup_epochs else {}),  # it was one step
        **({"moments": "fp32"} if train.coral else {}),  # bf16 under autocast
    }


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """One fine-tuning and where its checkpoint stands in the lineage."""

    spec: FinetuneSpec
    source: Source
    teacher: Checkpoint | None
    step: LineageStep
    progress: Progress

    def build(self, folder: Path, store: Path, processes: Processes) -> None:
        """Trains, and saves the checkpoint in `folder`."""
        data, held_out = self.source.data.name, self.source.origin.held_out
        self.progress.line(f"fine-tuning {self.source.label} on {data} without {held_out}")
        model = self.source.load()
        structure = structure_of(model, self.source.origin.model)
        try:
            best, record = self.train(model, processes, self.resume(store))
        except Diverged as error:
            self.resume(store).clear()  # going on would end there again
            kept = self._keep(structure, error.best, store)
            raise DgpruneError(f"{error}; {kept}") from error
        (folder / TRAINING).write_text(canonical_json(record) + "\n", encoding="utf-8")
        self._save(folder, rebuild(structure, best), self.step)

    def resume(self, store: Path) -> Resume:
        """Where the state of the training is kept until its checkpoint is there."""
        path = store / f"training-{self.step.digest[:12]}.safetensors"
        return Resume(path=path, name=self.step.digest)

    def train(
        self, model: Transformer, processes: Processes, resume: Resume
    ) -> tuple[Weights, TrainingRecord]:
        """The weights that are kept, and the record; every process runs this."""
        task = _task(self.source, self.spec, self.progress)
        if self.teacher is not None:
            task = replace(task, teacher=load_model(self.teacher))
        return train(model, task, self.spec.train, self.progress, resume, processes)

    def help(self, out: Path, processes: Processes) -> Done:
        """Trains along, as a process that writes nothing."""
        processes.wait()
        folder = out / f"finetuned-{self.source.label}-{self.step.digest[:12]}"
        if not folder.exists():
            self.train(self.source.load(), processes, self.resume(out))
        processes.wait()
        return Done(path=folder, fresh=False, summary=_summary(folder))

    def _keep(self, structure: Structure, best: Weights, store: Path) -> str:
        """Saves the last good weights of a training that failed, and says where."""
        if not best:
            return "no evaluation had been made, so there is nothing to keep"
        asked = {**self.step.spec, "diverged": True}
        step = next_step(self.source.lineage, "finetune", asked, self.source.origin)
        kept = store / f"diverged-{self.source.label}-{step.digest[:12]}"
        if not kept.exists():
            with new_folder(kept) as folder:
                self._save(folder, rebuild(structure, best), step)
        return f"the weights of the best evaluation before are in {kept}"

    def _save(self, folder: Path, model: Transformer, step: LineageStep) -> None:
        save_checkpoint(
            folder,
            model,
            digest=step.digest,
            label=self.source.label,
            lineage=(*self.source.lineage, step),
            origin=self.source.origin,
        )


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


def _task(source: Source, spec: FinetuneSpec, progress: Progress) -> Task:
    oracle = spec.train.selection == ORACLE
    loading = Loading(
        split=source.split,
        oracle=oracle,
        skip_bad_images=spec.source.skip_bad_images,
        progress=progress,
    )

    def load(samples: Sequence[Sample], purpose: Purpose) -> Images:
        where = source.data, samples, source.origin.preprocessing
        images = load_images(*where, purpose=purpose, loading=loading)
        require_every_domain(samples, images, purpose)
        return images

    train_images = load(source.split.train, Purpose.TRAIN)
    seen = set(train_images.labels.tolist())
    unseen = [name for label, name in enumerate(source.origin.classes) if label not in seen]
    if unseen:
        raise DgpruneError(f"class {unseen[0]!r} has no image in any source domain; add some")
    return Task(
        train=train_images,
        validation=load(source.split.validation, Purpose.SELECT),
        preprocessing=source.origin.preprocessing,
        oracle=load(source.split.held_out, Purpose.ORACLE) if oracle else None,
    )


def _summary(folder: Path) -> Json:
    path = folder / TRAINING
    record = decode(TrainingRecord, read_json(path), where=str(path))
    return {
        "epochs": len(record.epochs),
        "chosen_epoch": record.chosen + 1,
        "source_val_accuracy": sum(record.kept.values()) / len(record.kept),
        "per_domain": record.kept,
    }
