"""What `prune` is asked: criterion, ranking, budget, engine, refit and ablations."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from dgprune.data.draw import DEALING
from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.schema import Json, encode
from pruning.budgets import Budget, Limits
from pruning.criteria import CRITERIA, NEEDS_IMAGES, Criterion
from pruning.ranking import RANKINGS, Ranking

TORCH_PRUNING_CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
REFIT_IMAGES = 1024  # source images, where none are asked for

Engine = Literal["dgprune", "torch-pruning"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
ScaleAttention = Literal["keep", "reset"]
Dropped = Literal["none", "residual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What `prune` does under an engine where nothing else is asked for."""

    criterion: Criterion
    ranking: Ranking
    refit: bool


# torch-pruning stands for the paper, whose table counts files that were cut as the paper's were.
USUAL: dict[str, Usual] = {
    "dgprune": Usual(criterion="fisher", ranking="isomorphic", refit=True),
    "torch-pruning": Usual(criterion="hessian", ranking="global", refit=False),
}


def usual_of(engine: str | None) -> Usual:
    """The defaults of `engine`, or of the usual one; an unknown one is refused by PruneSpec."""
    return USUAL.get(engine or "dgprune", USUAL["dgprune"])


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSpec:
    """How to prune: what `budget` asks for goes, by `criterion`, under `ranking`.

    `score_images` source-training images, dealt evenly over domains and classes, feed the gradient
    criteria; `seed` draws them, and the random criterion. With `refit` all that is left is fitted
    to the dense model on `refit_images` source images (`pruning.refit`).

    Two ablations: `scale_attention` "reset" lets attention divide by the root of the new head
    dimension, as timm does, and `drop_dependency` "residual" misses one shortcut of the graph.
    """

    criterion: Criterion
    ranking: Ranking
    refit: bool
    budget: Budget = Budget(kind="ratio", value=0.5)
    score_images: int = 256
    seed: int = 0
    limits: Limits = Limits()
    engine: Engine = "dgprune"
    refit_images: int = REFIT_IMAGES
    scale_attention: ScaleAttention = "keep"
    drop_dependency: Dropped = "none"

    def __post_init__(self) -> None:
        choices = {
            "criterion": CRITERIA,
            "ranking": RANKINGS,
            "engine": ENGINES,
            "scale_attention": get_args(ScaleAttention),
            "drop_dependency": get_args(Dropped),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known:
                option = f"--{name.replace('_', '-')}"
                raise DgpruneError(f"{option} {value!r} must be one of {', '.join(known)}")
        if self.engine == "torch-pruning":
            self._require_torch_pruning()
        require_between("--score-images", self.score_images, 1, 1e9)
        require_between("--refit-images", self.refit_images, 1, 1e9)
        require_between("--seed", self.seed, 0, MAX_SEED)

    def _require_torch_pruning(self) -> None:
        if self.criterion not in TORCH_PRUNING_CRITERIA:
            raise DgpruneError(
                f"--engine torch-pruning has no criterion {self.criterion!r}; "
                f"use one of {', '.join(TORCH_PRUNING_CRITERIA)}"
            )
        if self.refit:
            raise DgpruneError(
                "--engine torch-pruning has no refit; remove --refit, or use dgprune"
            )
        if self.budget.kind != "ratio":
            raise DgpruneError(
                f"--engine torch-pruning knows --ratio only; remove --{self.budget.kind}, "
                "or use dgprune"
            )
        if self.scale_attention != "keep" or self.drop_dependency != "none":
            raise DgpruneError(
                "--engine torch-pruning takes no --scale-attention and no --drop-dependency; "
                "remove them, or use dgprune"
            )

    @property
    def label(self) -> str:
        """A short name, such as hessian-50 or l1-local-macs44."""
        kind = "" if self.budget.kind == "ratio" else self.budget.kind
        return self.label_for(f"{kind}{100 * self.budget.value:g}")

    def label_for(self, budget: str) -> str:
        """The short name with another word for the budget, such as 2.5x."""
        parts = [] if self.engine == "dgprune" else ["tp"]
        parts += [self.criterion] + ([] if self.ranking == "global" else [self.ranking])
        return "-".join([*parts, budget, *self.ablations])

    @property
    def ablations(self) -> list[str]:
        """What is cut wrongly on purpose, as labels have it."""
        parts = ["missed-edge"] if self.drop_dependency == "residual" else []
        return parts + (["scale-reset"] if self.scale_attention == "reset" else [])

    def asked(self) -> Json:
        """The spec as the lineage keeps it: the budget under its own name, defaults left out."""
        return {**self.asked_of_plan(), self.budget.kind: self.budget.value, **self.applying()}

    def asked_of_plan(self) -> Json:
        """What a plan depends on, the budget apart."""
        apart = ("budget", "engine", "refit", "refit_images", "scale_attention", "drop_dependency")
        asked: Json = {key: value for key, value in encode(self).items() if key not in apart}
        if self.engine == "torch-pruning":
            del asked["limits"]  # it has no floors and no alignment
            asked["engine"] = self.engine
        if self.drop_dependency != "none":
            asked["drop_dependency"] = self.drop_dependency
        if self.criterion in NEEDS_IMAGES:
            asked["dealing"] = DEALING
        return asked

    def applying(self) -> Json:
        """What a given plan still depends on: the refit and the ablations."""
        asked: Json = {}
        if self.drop_dependency != "none":  # the plan has it; this is for who reads the lineage
            asked["drop_dependency"] = self.drop_dependency
        if self.scale_attention != "keep":
            asked["scale_attention"] = self.scale_attention
        if self.refit:
            asked |= {"refit": True, "refit_images": self.refit_images, "seed": self.seed}
            asked["dealing"] = DEALING
        return asked

    def with_budget(self, budget: Budget) -> "PruneSpec":
        """The same spec under another budget."""
        return replace(self, budget=budget)
