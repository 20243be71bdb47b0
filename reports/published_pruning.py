"""Published numbers of grouped structural pruning on domain generalisation (arXiv 2504.04196)."""

from dataclasses import dataclass
from typing import Literal

from reports.published_accuracy import plain

SOURCE = "arXiv 2504.04196"
FAMILIES = ("ViT", "BEiT", "DeiT")
CRITERIA = ("hessian", "taylor", "l1", "l2", "random")
RATIOS = (0.5, 0.75, 0.95)
ENGINE, RANKING = "torch-pruning", "global"
LARGEST_SPEEDUP = 23.0  # "up to", at 95 %; of which model and criterion is not told
Family = Literal["ViT", "BEiT", "DeiT"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPruning:
    """One published cell: accuracy after pruning, its change in shares, and the speedup.

    None is what the text that is known does not print; `place` is where it is printed. The data set
    of a cell is PACS; with `names_data` the paper says so where it prints the number.
    """

    family: Family
    criterion: str
    ratio: float
    place: str
    names_data: bool
    accuracy: float | None = None
    change: float | None = None
    speedup: float | None = None


def _halved(
    family: Family, change: float, speedup: float, accuracy: float | None = None
) -> PublishedPruning:
    """A cell of the abstract: on PACS, by the Hessian, at 50 %."""
    return PublishedPruning(
        family=family,
        criterion="hessian",
        ratio=0.5,
        place="abstract",
        names_data=True,
        accuracy=accuracy,
        change=change,
        speedup=speedup,
    )


def _of_deit(
    criterion: str,
    ratio: float,
    accuracy: float | None = None,
    change: float | None = None,
    place: str = "Table IV",
) -> PublishedPruning:
    return PublishedPruning(
        family="DeiT",
        criterion=criterion,
        ratio=ratio,
        place=place,
        names_data=False,
        accuracy=accuracy,
        change=change,
    )


_PACS = (
    _halved("ViT", -0.0294, 2.5),
    _halved("BEiT", -0.0142, 1.81, accuracy=0.9423),
    _halved("DeiT", -0.0172, 2.15),
    _of_deit("random", 0.5, change=-0.1358, place="section V"),
    _of_deit("hessian", 0.95, accuracy=0.5441, change=-0.4215),
    _of_deit("taylor", 0.95, accuracy=0.3202),
    _of_deit("random", 0.95, accuracy=0.6413),
)


def paper_data(data_name: str, classes: int) -> str | None:
    """The paper's name of a data set; None where it is not one of its two, whole."""
    known = {("pacs", 7): "PACS", ("officehome", 65): "Office-Home"}
    return known.get((plain(data_name), classes))


def published_pruning(
    data: str, family: str, criterion: str, ratio: float
) -> PublishedPruning | None:
    """The published cell, where its number is known; of Office-Home none is."""
    asked = (family, criterion, ratio)
    found = [cell for cell in _PACS if (cell.family, cell.criterion, cell.ratio) == asked]
    return found[0] if found and data == "PACS" else None


def family_of(model: str) -> Family | None:
    """The paper's family of a timm model; None where it has none."""
    families: dict[str, Family] = {"vit": "ViT", "beit": "BEiT", "deit": "DeiT"}
    return families.get(model.split("_")[0])
