"""The known data sets: domains, classes, published counts, and where each comes from.

Counts are those of DomainBed (Gulrajani and Lopez-Paz 2021); DomainNet has a second set, of its
first release (Peng et al. 2019), before duplicates were cleaned away.
"""

from collections.abc import Collection
from dataclasses import dataclass

from dgprune.errors import DgpruneError
from dgprune.schema import nearest

DOMAINBED = "https://github.com/facebookresearch/DomainBed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDomain:
    """A domain: its name, its published counts (none where not sure), and its other names."""

    name: str
    counts: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSet:
    """A published data set of the shape `domain/class/image`.

    `page` is where its authors offer it, `folder` the name that DomainBed's download gives it.
    """

    name: str
    classes: int
    domains: tuple[KnownDomain, ...]
    images: tuple[int, ...]
    page: str
    folder: str

    def domain(self, name: str) -> KnownDomain | None:
        """The domain that a folder of this name is, in any spelling."""
        for domain in self.domains:
            if _plain(name) in {_plain(known) for known in (domain.name, *domain.aliases)}:
                return domain
        return None

    @property
    def how_to_get(self) -> str:
        """Where the archive is, in half a sentence."""
        page = f"from {self.page}, or " if self.page else ""
        return (
            f"get it {page}with DomainBed ({DOMAINBED}): its "
            f"`python3 -m domainbed.scripts.download --data_dir DIR` makes DIR/{self.folder}"
        )


KNOWN = (
    KnownSet(
        name="pacs",
        classes=7,
        domains=(
            KnownDomain(name="art_painting", counts=(2048,), aliases=("art",)),
            KnownDomain(name="cartoon", counts=(2344,)),
            KnownDomain(name="photo", counts=(1670,)),
            KnownDomain(name="sketch", counts=(3929,)),
        ),
        images=(9991,),
        page="https://dali-dl.github.io/project_iccv2017.html",
        folder="PACS",
    ),
    KnownSet(
        name="office-home",
        classes=65,
        domains=(
            KnownDomain(name="Art", counts=(2427,)),
            KnownDomain(name="Clipart", counts=(4365,)),
            KnownDomain(name="Product", counts=(4439,)),
            KnownDomain(name="Real World", counts=(4357,), aliases=("real",)),
        ),
        images=(15588,),
        page="https://www.hemanthdv.org/officeHomeDataset.html",
        folder="office_home",
    ),
    KnownSet(
        name="vlcs",
        classes=5,
        domains=(
            KnownDomain(name="Caltech101", counts=(1415,), aliases=("caltech",)),
            KnownDomain(name="LabelMe", counts=(2656,)),
            KnownDomain(name="SUN09", counts=(3282,), aliases=("sun",)),
            KnownDomain(name="VOC2007", counts=(3376,), aliases=("voc", "pascal")),
        ),
        images=(10729,),
        page="",
        folder="VLCS",
    ),
    KnownSet(
        name="terra-incognita",
        classes=10,
        domains=(
            KnownDomain(name="location_100", aliases=("L100",)),
            KnownDomain(name="location_38", aliases=("L38",)),
            KnownDomain(name="location_43", aliases=("L43",)),
            KnownDomain(name="location_46", aliases=("L46",)),
        ),
        images=(24788,),
        page="https://beerys.github.io/CaltechCameraTraps/",
        folder="terra_incognita",
    ),
    KnownSet(
        name="domainnet",
        classes=345,
        domains=(
            KnownDomain(name="clipart", counts=(48129, 48837), aliases=("clip",)),
            KnownDomain(name="infograph", counts=(51605, 53201), aliases=("info",)),
            KnownDomain(name="painting", counts=(72266, 75759), aliases=("paint",)),
            KnownDomain(name="quickdraw", counts=(172500,), aliases=("quick",)),
            KnownDomain(name="real", counts=(172947, 175327)),
            KnownDomain(name="sketch", counts=(69128, 70386)),
        ),
        images=(586575, 596010),
        page="http://ai.bu.edu/M3SDA/",
        folder="domain_net",
    ),
)
_OTHER_NAMES = {"officehome": "office-home", "terra": "terra-incognita", "domain-net": "domainnet"}


def known_set(name: str) -> KnownSet:
    """The known data set of this name; raises DgpruneError where there is none."""
    found = _named(name)
    if found is None:
        names = [known.name for known in KNOWN]
        hint = nearest(name, names)
        raise DgpruneError(f"--name {name!r} must be one of {', '.join(names)}{hint}")
    return found


def guess(folders: Collection[str]) -> KnownSet | None:
    """The known data set that most of these domain folders are of, where one fits best."""
    fits: dict[float, list[KnownSet]] = {}
    for known in KNOWN:
        matched = len({found.name for name in folders if (found := known.domain(name))})
        if matched > len(known.domains) / 2:
            union = len(known.domains) + len(folders) - matched
            fits.setdefault(matched / union, []).append(known)
    best = fits[max(fits)] if fits else []
    return best[0] if len(best) == 1 else None


def how_to_get(source: str) -> str:
    """Advice for one who types the name of a known data set as `--data`; "" for other words."""
    found = _named(source)
    if found is None:
        return ""
    return f"{found.how_to_get}; then pass that folder (`dgprune data check` tries it)"


def _named(name: str) -> KnownSet | None:
    wanted = _plain(_OTHER_NAMES.get(name.lower(), name))
    return next((known for known in KNOWN if _plain(known.name) == wanted), None)


def _plain(name: str) -> str:
    """A name without case, spaces, hyphens and underscores."""
    return "".join(character for character in name.lower() if character.isalnum())
