"""How a checked folder is told: a table, a line for each thing that is wrong, and JSON."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dgprune.data.check import Checked, Finding
from dgprune.data.known import KNOWN, KnownDomain
from dgprune.schema import Json
from dgprune.table import print_table

_LINES_A_KIND = 20


def summary(checked: Checked) -> Json:
    """Everything that was found, as JSON."""
    return {
        "name": checked.known.name if checked.known else None,
        "right": not checked.problems,
        "classes": len(checked.classes),
        "images": sum(domain.images for domain in checked.domains),
        "domains": [
            {
                "name": domain.name,
                "classes": domain.classes,
                "images": domain.images,
                "unreadable": domain.unreadable,
                "published": list(domain.published),
            }
            for domain in checked.domains
        ],
        "problems": [finding.text for finding in checked.problems],
        "notes": [finding.text for finding in checked.findings if finding.note],
        "archive": checked.known.how_to_get if checked.known else None,
    }


def show_table(checked: Checked) -> None:
    """Prints the domains beside what was published."""
    body = [
        [
            domain.name,
            str(domain.images),
            _or_dash(domain.published),
            str(domain.classes),
            str(domain.unreadable),
        ]
        for domain in checked.domains
    ]
    name = checked.known.name if checked.known else "no known data set"
    print_table(
        f"{checked.spec.root} ({name})",
        ["domain", "images", "published", "classes", "unreadable"],
        body,
    )


def lines(checked: Checked) -> Iterator[str]:
    """Notes, then what is wrong, one line each, then the verdict and where the archive is."""
    yield from _by_kind("note", [finding for finding in checked.findings if finding.note])
    yield from _by_kind("wrong", checked.problems)
    count = len(checked.problems)
    yield f"{count} thing(s) wrong" if count else "nothing wrong"
    if checked.known:
        yield f"official archive of {checked.known.name}: {checked.known.how_to_get}"


def known_sets() -> list[Json]:
    """The known data sets, as JSON."""
    return [
        {
            "name": known.name,
            "classes": known.classes,
            "images": list(known.images),
            "domains": {domain.name: list(domain.counts) for domain in known.domains},
            "archive": known.how_to_get,
        }
        for known in KNOWN
    ]


def known_lines() -> Iterator[str]:
    """Three lines a known data set: its size, its domains, and where it is."""
    for known in KNOWN:
        yield f"{known.name}: {_or_dash(known.images)} images, {known.classes} classes"
        yield f"  {', '.join(map(_with_count, known.domains))}"
        yield f"  {known.how_to_get}"
    yield "rotated-digits: 1797 images, 10 classes; comes with dgprune (--data rotated-digits)"


def _with_count(domain: KnownDomain) -> str:
    return f"{domain.name} {_or_dash(domain.counts)}" if domain.counts else domain.name


def _or_dash(counts: Sequence[int]) -> str:
    return " or ".join(map(str, counts)) or "-"


def _by_kind(word: str, findings: Sequence[Finding]) -> Iterator[str]:
    """A line each, up to twenty of a kind; --json has them all."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding.text)
    for kind, texts in kinds.items():
        yield from (f"{word}: {text}" for text in texts[:_LINES_A_KIND])
        if more := texts[_LINES_A_KIND:]:
            yield f"{word}: {len(more)} more of the kind {kind!r} (--json lists all)"
