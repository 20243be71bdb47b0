"""What a training is asked: optimiser, loss, views, averaging, selection."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from dgprune.errors import MAX_SEED, DgpruneError, require_between
from dgprune.schema import Json, encode
from pruning.augmentation import KINDS
from pruning.distillation import LossWeights

Averaging = Literal["none", "ema", "swad"]
Precision = Literal["auto", "fp32", "bf16"]
Selection = Literal["source-val", "oracle"]
COMPARED = 4  # images that CORAL needs: of two domains two each, or there is no covariance
_SINCE_THE_FIRST = frozenset(  # fields every lineage holds; the others are told where they are used
    (
        "epochs",
        "learning_rate",
        "weight_decay",
        "batch_size",
        "warmup_epochs",
        "label_smoothing",
        "clip_norm",
        "distill_weight",
        "temperature",
        "augmentation",
        "seed",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """How to train.

    `warmup_epochs` of linear warm-up, fewer than `epochs`, come before the cosine. What the weights
    of the loss and the temperature mean stands in `pruning.distillation`, `mixup` and `coral` in
    `pruning.invariance`, `averaging` in `pruning.averaging`, `layer_decay` in `pruning.optimiser`.

    The model is evaluated on the source-validation images after every epoch, or every
    `evaluate_every` steps; training ends early where `patience` evaluations brought nothing better
    (0: never). With `domain_balanced` every step sees as many images of each domain. `selection`
    "oracle" lets the target choose the evaluation that is kept, for comparison with papers that do.
    """

    epochs: int = 5
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    batch_size: int = 32
    warmup_epochs: float = 0.5
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    distill_weight: float = 0.5
    temperature: float = 3.0
    feature_weight: float = 0.0
    feature_blocks: int = 1
    augmentation: str = "photo"
    seed: int = 0
    averaging: Averaging = "none"
    ema_decay: float = 0.999
    mixup: float = 0.0
    coral: float = 0.0
    domain_balanced: bool = False
    layer_decay: float = 1.0
    evaluate_every: int = 0
    patience: int = 0
    precision: Precision = "auto"
    selection: Selection = "source-val"

    def __post_init__(self) -> None:
        require_between("--epochs", self.epochs, 1, 1e6)
        require_between("--batch-size", self.batch_size, 1, 1e6)
        require_between("--lr", self.learning_rate, 1e-12, 1e3)
        require_between("--weight-decay", self.weight_decay, 0, 1e3)
        require_between("--warmup-epochs", self.warmup_epochs, 0, 1e6)
        if self.warmup_epochs >= self.epochs:
            raise DgpruneError(
                f"--warmup-epochs {self.warmup_epochs:g} is no less than --epochs {self.epochs}, "
                "so that the learning rate would never be reached; pass fewer, or 0 for none"
            )
        require_between("--label-smoothing", self.label_smoothing, 0, 1)
        require_between("--clip-norm", self.clip_norm, 1e-12, 1e12)
        require_between("--distill-weight", self.distill_weight, 0, 1)
        require_between("--temperature", self.temperature, 1e-3, 1e3)
        require_between("--feature-weight", self.feature_weight, 0, 1e3)
        require_between("--feature-blocks", self.feature_blocks, 1, 1e3)
        require_between("--seed", self.seed, 0, MAX_SEED)
        require_between("--ema-decay", self.ema_decay, 0, 1 - 1e-9)
        require_between("--mixup", self.mixup, 0, 1e3)
        require_between("--coral", self.coral, 0, 1e6)
        require_between("--layer-decay", self.layer_decay, 1e-3, 1)
        require_between("--evaluate-every", self.evaluate_every, 0, 1e9)
        require_between("--patience", self.patience, 0, 1e6)
        choices = {
            "augmentation": KINDS,
            "averaging": get_args(Averaging),
            "precision": get_args(Precision),
            "selection": get_args(Selection),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise DgpruneError(
                    f"--{name} {getattr(self, name)!r} is none of {', '.join(known)}"
                )
        if self.feature_blocks > 1 and not self.feature_weight:
            raise DgpruneError("--feature-blocks does nothing without --feature-weight; add that")
        if self.coral and self.batch_size < COMPARED:
            raise DgpruneError(
                f"--coral does nothing with --batch-size {self.batch_size}: two domains with two "
                "images each are four; raise it"
            )
        if self.averaging != "ema" and self.ema_decay != _default("ema_decay"):
            raise DgpruneError("--ema-decay does nothing without --averaging ema; add that")
        if self.averaging == "swad" and self.selection == "oracle":
            raise DgpruneError(
                "--selection oracle does nothing with --averaging swad, which averages by the "
                "sources' loss; remove one of them"
            )

    def asked(self) -> Json:
        """The spec as the lineage keeps it: later options are left out where they do nothing."""
        asked: Json = encode(self)
        return {
            name: value
            for name, value in asked.items()
            if name in _SINCE_THE_FIRST or value != _default(name)
        }

    @property
    def follows_teacher(self) -> bool:
        """Whether a teacher would have a share in the loss."""
        return self.distill_weight > 0 or self.feature_weight > 0

    @property
    def loss_weights(self) -> LossWeights:
        """The shares in the loss."""
        return LossWeights(
            label_smoothing=self.label_smoothing,
            distill=self.distill_weight,
            temperature=self.temperature,
            features=self.feature_weight,
            feature_blocks=self.feature_blocks,
            coral=self.coral,
        )


def _default(name: str) -> object:
    return next(field.default for field in fields(TrainSpec) if field.name == name)
