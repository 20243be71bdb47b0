"""The stage `prune`: from a model or checkpoint to a pruned checkpoint and its plan."""

from dataclasses import dataclass
from pathlib import Path

import torch

from dgprune.checkpoint import open_checkpoint, save_checkpoint
from dgprune.data import Purpose, load_images, to_input
from dgprune.data.images import Loading
from dgprune.data.split import balanced
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.lineage import next_step
from dgprune.models import VisionTransformer
from dgprune.progress import SILENT, Progress
from dgprune.schema import Json, canonical_json, encode
from dgprune.source import Source, SourceSpec, open_source
from dgprune.stage import Done, run_stage
from dgprune.store import open_store
from dgprune.structure import cost_of
from pruning.criteria import CRITERIA, NEEDS_IMAGES, Calibration, Criterion, score
from pruning.groups import trace_groups
from pruning.plan import Plan
from pruning.planning import Limits, plan_globally
from pruning.surgery import apply_plan

PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSpec:
    """How to prune: the share `ratio` of all units, by `criterion`, in one `ranking`.

    `score_images` source-training images, dealt evenly over domains and classes, feed the gradient
    criteria; `seed` draws them, and the random criterion.
    """

    criterion: Criterion = "hessian"
    ranking: str = "global"
    ratio: float = 0.5
    score_images: int = 256
    seed: int = 0
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise DgpruneError(
                f"--ratio {self.ratio} is outside [0, 1); 0.5 removes half of the units"
            )
        if self.criterion not in CRITERIA:
            raise DgpruneError(f"--criterion {self.criterion!r} is none of {', '.join(CRITERIA)}")
        if self.ranking != "global":
            raise DgpruneError(f"--ranking {self.ranking!r}: only global is supported")
        require_between("--score-images", self.score_images, 1, 1e9)
        require_between("--seed", self.seed, 0, MAX_SEED)


def prune(source_spec: SourceSpec, spec: PruneSpec, out: Path, progress: Progress = SILENT) -> Done:
    """A pruned checkpoint folder under `out`, scored on source images only."""
    source = open_source(source_spec)
    step = next_step(source.lineage, "prune", encode(spec), source.origin)
    label = f"{spec.criterion}-{round(spec.ratio * 100)}"

    def build(folder: Path) -> None:
        progress.line(f"pruning {source.label} by {spec.criterion}, ratio {spec.ratio:g}")
        model = source.load()
        plan = _plan(model, source, spec, source_spec.skip_bad_images, progress)
        pruned = apply_plan(model, plan, source.origin.model)
        (folder / PLAN).write_text(canonical_json(plan) + "\n")
        save_checkpoint(
            folder,
            pruned,
            digest=step.digest,
            label=label,
            lineage=(*source.lineage, step),
            origin=source.origin,
        )

    store = open_store(out)
    done = run_stage(store / f"pruned-{label}-{step.digest[:12]}", open_checkpoint, build, progress)
    source.split.save(store)
    return Done(path=done.path, fresh=done.fresh, summary=_summary(done.path))


def _plan(
    model: VisionTransformer,
    source: Source,
    spec: PruneSpec,
    skip_bad_images: bool,
    progress: Progress,
) -> Plan:
    calibration = None
    if spec.criterion in NEEDS_IMAGES:
        calibration = _calibration(source, spec, skip_bad_images, progress)
    groups = trace_groups(model)
    scores = score(groups, spec.criterion, calibration, seed=spec.seed, progress=progress)
    return plan_globally(scores, spec.ratio, spec.limits)


def _calibration(
    source: Source, spec: PruneSpec, skip_bad_images: bool, progress: Progress
) -> Calibration:
    chosen = balanced(source.split.train, spec.score_images, seed=spec.seed)
    loading = Loading(
        target=source.origin.target, skip_bad_images=skip_bad_images, progress=progress
    )
    preprocessing = source.origin.preprocessing
    images = load_images(source.data, chosen, preprocessing, purpose=Purpose.SCORE, loading=loading)
    return Calibration(
        inputs=torch.from_numpy(to_input(images.pixels, preprocessing)),
        labels=torch.from_numpy(images.labels),
    )


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
