"""A recipe: the whole chain in one TOML file, with every choice written out."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.schema import decode, nearest

_FOLDER = Path(__file__).parent / "recipes"
ALL_CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
ALL_RATIOS = (0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """One fine-tuning: the options of `dgprune finetune`; those with a default may be left out."""

    epochs: int
    lr: float
    batch_size: int
    weight_decay: float
    warmup_epochs: float
    label_smoothing: float
    augmentation: str
    clip_norm: float = 1.0
    averaging: str = "none"
    ema_decay: float = 0.999
    mixup: float = 0.0
    coral: float = 0.0
    domain_balanced: bool = False
    layer_decay: float = 1.0
    evaluate_every: int = 0
    patience: int = 0
    precision: str = "auto"
    selection: str = "source-val"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRecipe:
    """Some cells of the grid: every criterion at every ratio; the last keys may be left out.

    With more than one of `steps`, `schedule` and the keys after it say how they share the cut, and
    how the model is trained between them.
    """

    criteria: tuple[str, ...]
    ratios: tuple[float, ...]
    ranking: str
    score_images: int
    refit: bool
    engine: str = "dgprune"
    floor: str | None = None
    align: str | None = None
    steps: int = 1
    schedule: str | None = None
    step_epochs: int | None = None
    step_lr: float | None = None
    augmentation: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRecipe:
    """How the dense model teaches the pruned ones."""

    weight: float
    temperature: float
    features: float = 0.0

    @property
    def teaches(self) -> bool:
        """Whether the dense model has any share in the loss."""
        return bool(self.weight or self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecipe:
    """The options of `dgprune bench`."""

    batch: tuple[int, ...]
    tier: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The chain: dense model, grid of pruned ones, recovery, export, measurements, report.

    `protocol` may be left out; paper-like holds no domain out, so that it has no `target`.
    """

    model: str
    weights: str
    image_size: int
    data: str
    target: str | None = None
    protocol: str = "leave-one-domain-out"
    seed: int
    dense: TrainRecipe
    prune: tuple[PruneRecipe, ...]
    recover: TrainRecipe
    distill: DistillRecipe
    bench: BenchRecipe

    def where(self) -> tuple[str, ...]:
        """The options that name data and protocol."""
        target = () if self.target is None else ("--target", self.target)
        return ("--data", self.data, *target, "--protocol", self.protocol)

    def cells(self) -> list[tuple[PruneRecipe, str, float]]:
        """Every pruned model once: its grid entry, criterion and ratio."""
        found: dict[PruneRecipe, tuple[PruneRecipe, str, float]] = {}
        for entry in self.prune:
            for ratio in entry.ratios:
                for criterion in entry.criteria:
                    alike = replace(entry, criteria=(criterion,), ratios=(ratio,))
                    found.setdefault(alike, (entry, criterion, ratio))
        return sorted(found.values(), key=lambda cell: cell[2])


def recipe_names() -> list[str]:
    """Names that `dgprune recipe NAME` knows."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def recipe_text(name: str) -> str:
    """The TOML of a recipe; raises DgpruneError for an unknown name."""
    if name not in recipe_names():
        raise DgpruneError(
            f"there is no recipe {name!r} (there are {', '.join(recipe_names())})"
            f"{nearest(name, recipe_names())}"
        )
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8").rstrip()


def named_recipe(name: str) -> Recipe:
    """A recipe that comes with dgprune."""
    return _parse(recipe_text(name), name)


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file; raises DgpruneError where a key is missing, unknown or wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = f"; `dgprune recipe {path}` prints one" if str(path) in recipe_names() else ""
        raise DgpruneError(f"{path}: cannot be read as a recipe ({error}){hint}") from None
    return _parse(text, str(path))


def full_grid(recipe: Recipe) -> Recipe:
    """The same recipe with all five criteria at all three ratios."""
    grid = replace(recipe.prune[0], criteria=ALL_CRITERIA, ratios=ALL_RATIOS)
    return replace(recipe, prune=(grid,))


def _parse(text: str, where: str) -> Recipe:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DgpruneError(f"{where} is not TOML: {error}") from None
    recipe: Recipe = decode(Recipe, value, where=where)
    _require_protocol(recipe, where)
    if not recipe.cells():
        raise DgpruneError(f"{where}: [[prune]] names no criterion or no ratio")
    return recipe


def _require_protocol(recipe: Recipe, where: str) -> None:
    from dgprune.data.split import PAPER_LIKE, PROTOCOLS  # images take a while to import

    if recipe.protocol not in PROTOCOLS:
        raise DgpruneError(
            f"{where}: protocol {recipe.protocol!r} must be one of {', '.join(PROTOCOLS)}"
            f"{nearest(recipe.protocol, PROTOCOLS)}"
        )
    if recipe.protocol == PAPER_LIKE and recipe.target is not None:
        raise DgpruneError(
            f"{where}: protocol {PAPER_LIKE} holds no domain out; remove target = {recipe.target!r}"
        )
    if recipe.protocol != PAPER_LIKE and recipe.target is None:
        raise DgpruneError(
            f"{where}: key 'target' is missing; add it, or protocol = \"{PAPER_LIKE}\""
        )
