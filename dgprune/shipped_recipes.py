"""The recipes and plans that come with dgprune, by name."""

from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.schema import nearest

_RECIPES = Path(__file__).parent / "recipes"
_PLANS = Path(__file__).parent / "sweep" / "plans"


def recipe_names() -> list[str]:
    """Names that `dgprune recipe NAME` knows."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml"))


def plan_names() -> list[str]:
    """Names of the plans that come with dgprune, which `dgprune recipe NAME` knows too."""
    return sorted(path.stem for path in _PLANS.glob("*.toml"))


def printed_by(name: str) -> str:
    """What to type where somebody gives the name of a recipe or plan instead of its file."""
    if name in recipe_names():
        return f"; take that recipe from `dgprune recipe {name}`, a file for dgprune run"
    if name in plan_names():
        return f"; take that plan from `dgprune recipe {name}`, a file for dgprune sweep"
    return ""


def recipe_text(name: str) -> str:
    """The TOML of a recipe or plan; raises DgpruneError for an unknown name."""
    known = [*recipe_names(), *plan_names()]
    if name not in known:
        raise DgpruneError(
            f"there is no recipe {name!r} (there are {', '.join(known)}){nearest(name, known)}"
        )
    folder = _RECIPES if name in recipe_names() else _PLANS
    return (folder / f"{name}.toml").read_text(encoding="utf-8").rstrip()
