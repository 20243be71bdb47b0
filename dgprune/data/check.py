"""What is wrong with a folder `domain/class/image`: every file is decoded and compared."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from dgprune.data.folder import folders_in, images_in, read_image
from dgprune.data.known import KnownSet, guess, known_set
from dgprune.data.layout import layout_findings, require_images
from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.schema import file_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """The folder to check, and which data set it should be: guessed from its domains if None."""

    root: Path
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found, in one line; a note is nothing to repair."""

    kind: str
    text: str
    note: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDomain:
    """One domain folder: how many classes, images and unreadable ones, and what was published."""

    name: str
    classes: int
    images: int
    unreadable: int
    published: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A folder that was checked: which known set it was compared with, and what was found."""

    spec: CheckSpec
    known: KnownSet | None
    classes: tuple[str, ...]
    domains: tuple[CheckedDomain, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that are wrong; none where the folder is right."""
        return tuple(finding for finding in self.findings if not finding.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """One file: its place, and digests of its bytes and pixels, or why it has no pixels."""

    domain: str
    label: str
    key: str
    bytes_sha256: str = ""
    pixels_sha256: str = ""
    reason: str = ""


def check_folder(spec: CheckSpec, progress: Progress) -> Checked:
    """Everything that is wrong with the folder.

    Raises DgpruneError where it is no folder, has no image in `domain/class/image`, or `name` is
    not a known data set.
    """
    named = known_set(spec.name) if spec.name is not None else None
    if not spec.root.is_dir():
        what = "is a file" if spec.root.exists() else "no such folder"
        raise DgpruneError(f"{spec.root}: {what}; give a folder domain/class/image")
    domains = folders_in(spec.root)
    known = named or guess(domains)
    files = list(_files(spec.root, domains))
    require_images(spec.root, len(files))
    read = list(progress.track(_read_all(spec.root, files), len(files), "decoding"))
    counted = tuple(_counted(spec.root, domain, known, read) for domain in domains)
    classes = sorted({name for domain in domains for name in folders_in(spec.root / domain)})
    findings = [
        *(Finding(kind=kind, text=text) for kind, text in layout_findings(spec.root, domains)),
        *_against_published(counted, len(classes), known),
        *(_unreadable(file) for file in read if file.reason),
        *_unportable(read),
        *_duplicates(read),
    ]
    return Checked(
        spec=spec,
        known=known,
        classes=tuple(classes),
        domains=counted,
        findings=tuple(findings),
    )


def _files(root: Path, domains: Sequence[str]) -> Iterator[_Read]:
    for domain in domains:
        for label in folders_in(root / domain):
            for path in images_in(root / domain / label):
                yield _Read(domain=domain, label=label, key=path.relative_to(root).as_posix())


def _read_all(root: Path, files: Sequence[_Read]) -> Iterator[_Read]:
    """Each file, read and decoded, in order."""

    def read(file: _Read) -> _Read:
        path = root / file.key
        try:
            file = replace(file, bytes_sha256=file_sha256(path))
            image = read_image(path)
        except OSError as error:
            return replace(file, reason=str(error) or type(error).__name__)
        sha256 = hashlib.sha256(repr(image.size).encode())
        sha256.update(image.tobytes())
        return replace(file, pixels_sha256=sha256.hexdigest())

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(read, files)


def _counted(
    root: Path, domain: str, known: KnownSet | None, read: Sequence[_Read]
) -> CheckedDomain:
    there = [file for file in read if file.domain == domain]
    published = known.domain(domain) if known else None
    return CheckedDomain(
        name=domain,
        classes=len(folders_in(root / domain)),
        images=len(there),
        unreadable=sum(bool(file.reason) for file in there),
        published=published.counts if published else (),
    )


def _against_published(
    domains: Sequence[CheckedDomain], classes: int, known: KnownSet | None
) -> Iterator[Finding]:
    if known is None:
        text = "no known data set has these domains: there are no published counts to compare with"
        yield Finding(kind="name", text=text, note=True)
        return
    there = {found.name for domain in domains if (found := known.domain(domain.name))}
    for wanted in known.domains:
        if wanted.name not in there:
            yield Finding(kind="domain", text=f"domain {wanted.name} of {known.name} is missing")
    for domain in domains:
        if known.domain(domain.name) is None:
            yield Finding(kind="domain", text=f"{domain.name} is no domain of {known.name}")
        elif domain.published and domain.images not in domain.published:
            text = f"{domain.name} has {domain.images} images, {known.name} has "
            yield Finding(kind="count", text=text + " or ".join(map(str, domain.published)))
    if classes != known.classes:
        text = f"{classes} classes, {known.name} has {known.classes}"
        yield Finding(kind="class", text=text)
    total = sum(domain.images for domain in domains)
    if total not in known.images:
        text = f"{total} images in all, {known.name} has {' or '.join(map(str, known.images))}"
        yield Finding(kind="count", text=text)


def _unreadable(file: _Read) -> Finding:
    return Finding(kind="unreadable", text=f"{file.key} is unreadable ({file.reason})")


def _unportable(read: Sequence[_Read]) -> Iterator[Finding]:
    for file in read:
        try:
            file.key.encode("utf-8")
        except UnicodeEncodeError:
            text = f"the file name {file.key!a} is not UTF-8: every command refuses the folder"
            yield Finding(kind="file name", text=text)


def _duplicates(read: Sequence[_Read]) -> Iterator[Finding]:
    """Images that are there twice: wrong across domains or classes, else a note."""
    groups: dict[str, list[_Read]] = defaultdict(list)
    for file in read:
        if file.pixels_sha256:
            groups[file.pixels_sha256].append(file)
    for group in groups.values():
        if len(group) > 1:
            yield _duplicate(group)


def _duplicate(group: Sequence[_Read]) -> Finding:
    alike = "bytes" if len({file.bytes_sha256 for file in group}) == 1 else "pixels"
    others = f" and {len(group) - 3} more" if len(group) > 3 else ""
    names = " = ".join(file.key for file in group[:3]) + others
    if len({file.domain for file in group}) > 1:
        text = f"{names} (same {alike}) in two domains: the held-out one would be trained on"
        return Finding(kind="across domains", text=text)
    if len({file.label for file in group}) > 1:
        return Finding(kind="two classes", text=f"{names} (same {alike}) in two classes")
    return Finding(kind="twice", text=f"{names} (same {alike})", note=True)
