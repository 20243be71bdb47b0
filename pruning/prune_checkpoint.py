"""The stage `prune`: from a model or checkpoint to a pruned checkpoint and its plan."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from dgprune.checkpoint import open_checkpoint, save_checkpoint
from dgprune.data import Purpose, load_images, to_input
from dgprune.data.draw import DEALING, balanced
from dgprune.data.images import Loading
from dgprune.lineage import next_step
from dgprune.models import Transformer, set_fused_attention, structure_of
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, canonical_json, decode, digest, read_json
from dgprune.source import Source, SourceSpec, open_source
from dgprune.stage import Done, run_stage
from dgprune.store import store_at
from dgprune.structure import Structure, cost_of
from pruning.criteria import NEEDS_IMAGES, Calibration, score
from pruning.device import pick_device, placed
from pruning.groups import trace_groups
from pruning.plan import Plan, plan_json
from pruning.planning import make_plan, shortfall
from pruning.ranking import UnitScores
from pruning.refit import refit
from pruning.shared_scores import shared_scores
from pruning.sources_check import require_every_domain
from pruning.spec import PruneSpec
from pruning.surgery import apply_plan
from pruning.torch_pruning_engine import prune_by_torch_pruning, skipped_axes

PLAN, SKIPPED = "plan.json", "skipped.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What another search decided: a plan to apply as it is, the label, more for the lineage.

    `dense` is the model that the budget is a share of, where it is not the one that is cut.
    """

    plan: Plan | None = None
    label: str | None = None
    asked: Json = field(default_factory=dict)
    dense: Structure | None = None


NOTHING_GIVEN = Given()


def prune(
    source_spec: SourceSpec,
    spec: PruneSpec,
    out: Path,
    progress: Progress = SILENT,
    given: Given = NOTHING_GIVEN,
) -> Done:
    """A pruned checkpoint folder under `out`, scored and refitted on source images only.

    A given plan is applied as it is; nothing is scored then.
    """
    source = open_source(source_spec)
    plan = given.plan
    asked = {"plan": digest(plan_json(plan)), **spec.applying()} if plan else spec.asked()
    asked |= given.asked
    if source_spec.skip_bad_images:
        asked["skip_bad_images"] = True
    step = next_step(source.lineage, "prune", asked, source.origin)
    label = _label(source, spec, given)

    def build(folder: Path, store: Path) -> None:
        progress.line(f"pruning {source.label}: {label}")
        model = source.load()
        skip = source_spec.skip_bad_images
        images = Images(source=source, skip=skip, progress=progress, store=store)
        if spec.engine == "torch-pruning" and plan is None:
            pruned, skipped = _by_torch_pruning(model, images, spec)
            (folder / SKIPPED).write_text(canonical_json(skipped) + "\n", encoding="utf-8")
        else:
            chosen = plan or _make_plan(model, images, spec, given.dense)
            pruned = _apply(model, images, spec, chosen)
            (folder / PLAN).write_text(canonical_json(plan_json(chosen)) + "\n", encoding="utf-8")
        save_checkpoint(
            folder,
            pruned,
            digest=step.digest,
            label=label,
            lineage=(*source.lineage, step),
            origin=source.origin,
        )

    with store_at(out) as store:
        source.split.require_intact(store)
        folder = store / f"pruned-{label}-{step.digest[:12]}"
        done = run_stage(folder, open_checkpoint, lambda made: build(made, store), progress)
        source.split.save(store)
    return Done(path=done.path, fresh=done.fresh, summary=_summary(done.path))


def _label(source: Source, spec: PruneSpec, given: Given) -> str:
    if given.label is not None:
        return given.label
    if given.plan is None:
        return label_after(source.label, spec.label)
    parts = ("plan", digest(plan_json(given.plan))[:6], *spec.ablations)
    return label_after(source.label, "-".join(parts))


def label_after(before: str, label: str) -> str:
    """The label of a cut of a model that may have been cut before: one name for every cut."""
    return label if before == "dense" else f"{before}+{label}"


def read_plan(path: Path) -> Plan:
    """A plan that was saved (`plan.json` of a pruned checkpoint) and perhaps edited."""
    plan: Plan = decode(Plan, read_json(path), where=str(path))
    return plan


@dataclass(frozen=True, kw_only=True)
class Images:
    """Source-training images, dealt evenly over domains and classes.

    What is computed on them is kept in `store`, where there is one.
    """

    source: Source
    skip: bool
    progress: Progress
    store: Path | None = None

    def load(self, count: int, seed: int, purpose: Purpose = Purpose.SCORE) -> Calibration:
        """`count` images and their labels, drawn by `seed`."""
        source, preprocessing = self.source, self.source.origin.preprocessing
        samples = balanced(source.split.train, count, seed=seed)
        images = load_images(
            source.data,
            samples,
            preprocessing,
            purpose=purpose,
            loading=Loading(split=source.split, skip_bad_images=self.skip, progress=self.progress),
        )
        require_every_domain(samples, images, purpose)
        return Calibration(
            inputs=torch.from_numpy(to_input(images.pixels, preprocessing)),
            labels=torch.from_numpy(images.labels),
        )


def score_units(model: Transformer, images: Images, spec: PruneSpec) -> UnitScores:
    """Scores of every unit of `model` under `spec`, on source images where it needs them.

    The model's attention is plain afterwards: computing scores makes it so, and what is computed
    next must not depend on whether they were at hand.
    """
    needed = spec.criterion in NEEDS_IMAGES

    def compute() -> UnitScores:
        calibration = images.load(spec.score_images, spec.seed) if needed else None
        with placed(pick_device(), model):
            groups = trace_groups(model, miss_edge=spec.drop_dependency == "residual")
            return score(
                groups, spec.criterion, calibration, seed=spec.seed, progress=images.progress
            )

    if images.store is None:
        return compute()
    asked = {
        "model": images.source.lineage[-1].digest,
        "criterion": spec.criterion,
        "seed": spec.seed,
        "drop_dependency": spec.drop_dependency,
        "score_images": spec.score_images if needed else 0,
        "dealing": DEALING if needed else 0,
        "skip_bad_images": images.skip,
    }
    scores = shared_scores(images.store, asked, compute)
    set_fused_attention(model, False)
    return scores


def _make_plan(
    model: Transformer, images: Images, spec: PruneSpec, dense: Structure | None
) -> Plan:
    structure = structure_of(model, images.source.origin.model)
    scores = score_units(model, images, spec)
    plan = make_plan(scores, structure, spec.ranking, spec.budget, spec.limits, dense)
    short = shortfall(plan, structure, spec.budget, dense)
    if short is not None:
        images.progress.line(short)
    return plan


def _apply(model: Transformer, images: Images, spec: PruneSpec, plan: Plan) -> Transformer:
    name = images.source.origin.model
    keep_scale = spec.scale_attention == "keep"
    pruned = apply_plan(model, plan, name, keep_scale=keep_scale)
    if spec.refit and structure_of(pruned, name) != structure_of(model, name):
        inputs = images.load(spec.refit_images, spec.seed, Purpose.REFIT).inputs
        refit(model, pruned, plan, inputs, keep_scale=keep_scale, progress=images.progress)
    return pruned


def _by_torch_pruning(
    model: Transformer, images: Images, spec: PruneSpec
) -> tuple[Transformer, list[str]]:
    """The pruned model, and the groups that torch-pruning left whole."""
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
    if spec.budget.value == 0:
        return pruned, []
    skipped = skipped_axes(structure_of(model, name), structure_of(pruned, name))
    if skipped:
        images.progress.line(f"torch-pruning skipped {len(skipped)} group(s): {', '.join(skipped)}")
    return pruned, skipped


def _summary(folder: Path) -> Json:
    """What was kept, per axis, and which groups the engine left whole."""
    structure = open_checkpoint(folder).structure
    cost = cost_of(structure)
    skipped = folder / SKIPPED
    return {
        "width": structure.embed_dim,
        "blocks": [
            {"heads": b.num_heads, "head_dim": b.head_dim, "mlp_units": b.mlp_hidden}
            for b in structure.blocks
        ],
        "macs_per_image": cost.macs_per_image,
        "parameters": cost.parameters,
        "skipped_groups": read_json(skipped) if skipped.is_file() else [],
    }
