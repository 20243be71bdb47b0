"""The stage `prune`: from a model or checkpoint to a pruned checkpoint and its plan."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from dgprune.checkpoint import open_checkpoint, save_checkpoint
from dgprune.data import Purpose, load_images, to_input
from dgprune.data.images import Loading
from dgprune.data.split import balanced
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.lineage import next_step
from dgprune.models import Transformer, structure_of
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, canonical_json, decode, digest, encode, read_json
from dgprune.source import Source, SourceSpec, open_source
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from dgprune.structure import cost_of
from pruning.criteria import CRITERIA, NEEDS_IMAGES, Calibration, Criterion, score
from pruning.groups import trace_groups
from pruning.plan import Plan, check
from pruning.planning import Budget, Limits, make_plan
from pruning.ranking import RANKINGS, Ranking
from pruning.refit import refit
from pruning.surgery import apply_plan
from pruning.torch_pruning_engine import prune_by_torch_pruning, skipped_axes

PLAN = "plan.json"
Engine = Literal["dgprune", "torch-pruning"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSpec:
    """How to prune: what `budget` asks for goes, by `criterion`, under `ranking`.

    `score_images` source-training images, dealt evenly over domains and classes, feed the gradient
    criteria; `seed` draws them, and the random criterion. With `refit` the layers behind a cut are
    fitted to the dense ones on `refit_images` source images.
    """

    criterion: Criterion = "hessian"
    ranking: Ranking = "global"
    budget: Budget = Budget(kind="ratio", value=0.5)
    score_images: int = 256
    seed: int = 0
    limits: Limits = Limits()
    engine: Engine = "dgprune"
    refit: bool = False
    refit_images: int = 512

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise DgpruneError(
                f"--criterion {self.criterion!r} must be one of {', '.join(CRITERIA)}"
            )
        if self.ranking not in RANKINGS:
            raise DgpruneError(f"--ranking {self.ranking!r} must be one of {', '.join(RANKINGS)}")
        if self.engine not in ENGINES:
            raise DgpruneError(f"--engine {self.engine!r} must be one of {', '.join(ENGINES)}")
        if self.engine == "torch-pruning" and (self.refit or self.budget.kind != "ratio"):
            raise DgpruneError(
                "--engine torch-pruning knows --ratio only and no refit; "
                "add --no-refit, or use dgprune"
            )
        require_between("--score-images", self.score_images, 1, 1e9)
        require_between("--refit-images", self.refit_images, 1, 1e9)
        require_between("--seed", self.seed, 0, MAX_SEED)

    @property
    def label(self) -> str:
        """A short name, such as hessian-50 or l1-local-macs44."""
        parts = [] if self.engine == "dgprune" else ["tp"]
        parts += [self.criterion] + ([] if self.ranking == "global" else [self.ranking])
        kind = "" if self.budget.kind == "ratio" else self.budget.kind
        return "-".join([*parts, f"{kind}{100 * self.budget.value:g}"])


def prune(
    source_spec: SourceSpec,
    spec: PruneSpec,
    out: Path,
    progress: Progress = SILENT,
    *,
    plan: Plan | None = None,
) -> Done:
    """A pruned checkpoint folder under `out`, scored and refitted on source images only.

    A `plan` is applied as it is; nothing is scored then.
    """
    source = open_source(source_spec)
    asked = {"plan": digest(plan), **_refit_part(spec)} if plan is not None else _asked(spec)
    if source_spec.skip_bad_images:
        asked["skip_bad_images"] = True
    step = next_step(source.lineage, "prune", asked, source.origin)
    label = f"plan-{digest(plan)[:6]}" if plan is not None else spec.label
    if source.label != "dense":  # pruned before: one name for every cut
        label = f"{source.label}+{label}"

    def build(folder: Path) -> None:
        progress.line(f"pruning {source.label}: {label}")
        model = source.load()
        images = _Images(source=source, skip=source_spec.skip_bad_images, progress=progress)
        if spec.engine == "torch-pruning" and plan is None:
            pruned = _by_torch_pruning(model, images, spec)
        else:
            chosen = plan if plan is not None else _make_plan(model, images, spec)
            pruned = _apply(model, images, spec, chosen)
            (folder / PLAN).write_text(canonical_json(chosen) + "\n")
        save_checkpoint(
            folder,
            pruned,
            digest=step.digest,
            label=label,
            lineage=(*source.lineage, step),
            origin=source.origin,
        )

    with store_at(out) as store:
        folder = store / f"pruned-{label}-{step.digest[:12]}"
        done = run_stage(folder, open_checkpoint, build, progress)
        source.split.save(store)
    return Done(path=done.path, fresh=done.fresh, summary=_summary(done.path))


def read_plan(path: Path) -> Plan:
    """A plan that was saved (`plan.json` of a pruned checkpoint) and perhaps edited."""
    plan: Plan = decode(Plan, read_json(path), where=str(path))
    return plan


def _asked(spec: PruneSpec) -> Json:
    """The spec as the lineage keeps it: the budget under its own name, refit where it is on."""
    apart = ("budget", "engine", "refit", "refit_images")
    asked: Json = {key: value for key, value in encode(spec).items() if key not in apart}
    if spec.engine == "torch-pruning":
        del asked["limits"]  # it has no floors and no alignment
        asked["engine"] = spec.engine
    return {**asked, spec.budget.kind: spec.budget.value, **_refit_part(spec)}


def _refit_part(spec: PruneSpec) -> Json:
    """What the refit depends on, where there is one."""
    if not spec.refit:
        return {}
    return {"refit": True, "refit_images": spec.refit_images, "seed": spec.seed}


@dataclass(frozen=True, kw_only=True)
class _Images:
    """Source-training images, dealt evenly over domains and classes."""

    source: Source
    skip: bool
    progress: Progress

    def load(self, count: int, seed: int) -> Calibration:
        source, preprocessing = self.source, self.source.origin.preprocessing
        images = load_images(
            source.data,
            balanced(source.split.train, count, seed=seed),
            preprocessing,
            purpose=Purpose.SCORE,
            loading=Loading(
                target=source.origin.target, skip_bad_images=self.skip, progress=self.progress
            ),
        )
        return Calibration(
            inputs=torch.from_numpy(to_input(images.pixels, preprocessing)),
            labels=torch.from_numpy(images.labels),
        )


def _apply(model: Transformer, images: _Images, spec: PruneSpec, plan: Plan) -> Transformer:
    check(plan, structure_of(model, images.source.origin.model))  # the refit trusts its plan
    refitted = None
    if spec.refit:
        inputs = images.load(spec.refit_images, spec.seed).inputs
        refitted = refit(model, plan, inputs, images.progress)
    return apply_plan(model, plan, images.source.origin.model, refitted)


def _by_torch_pruning(model: Transformer, images: _Images, spec: PruneSpec) -> Transformer:
    needed = spec.criterion in NEEDS_IMAGES
    name = images.source.origin.model
    pruned = prune_by_torch_pruning(
        model,
        name,
        criterion=spec.criterion,
        ranking=spec.ranking,
        ratio=spec.budget.value,
        calibration=images.load(spec.score_images, spec.seed) if needed else None,
        seed=spec.seed,
        progress=images.progress,
    )
    skipped = skipped_axes(structure_of(model, name), structure_of(pruned, name))
    if skipped and spec.budget.value > 0:
        images.progress.line(f"torch-pruning skipped {len(skipped)} group(s): {', '.join(skipped)}")
    return pruned


def _make_plan(model: Transformer, images: _Images, spec: PruneSpec) -> Plan:
    needed = spec.criterion in NEEDS_IMAGES
    calibration = images.load(spec.score_images, spec.seed) if needed else None
    structure = structure_of(model, images.source.origin.model)
    groups = trace_groups(model)
    scores = score(groups, spec.criterion, calibration, seed=spec.seed, progress=images.progress)
    return make_plan(scores, structure, spec.ranking, spec.budget, spec.limits)


def _summary(folder: Path) -> Json:
    """What was kept, per axis."""
    structure = open_checkpoint(folder).structure
    cost = cost_of(structure)
    return {
        "width": structure.embed_dim,
        "blocks": [
            f"{b.num_heads} heads x {b.head_dim}, MLP {b.mlp_hidden}" for b in structure.blocks
        ],
        "macs_per_image": cost.macs_per_image,
        "parameters": cost.parameters,
    }
