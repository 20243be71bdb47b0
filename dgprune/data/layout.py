"""What does not fit the shape `domain/class/image`, told from the names of files alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dgprune.data.folder import SUFFIXES, folders_in, images_in
from dgprune.errors import DgpruneError

# Left by file managers; harmless.
_SYSTEM = frozenset({"desktop.ini", "thumbs.db"})


def require_images(root: Path, images: int) -> None:
    """Raises DgpruneError where there is no image at all."""
    if not images:
        raise DgpruneError(
            f"{root} has no image in folders domain/class ({', '.join(sorted(SUFFIXES))}); "
            "give the folder that holds the domains"
        )


def layout_findings(root: Path, domains: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The kind and the text of each thing that is out of place."""
    if len(domains) < 2:
        yield "domain", f"{len(domains)} domain; domain generalisation needs two or more"
    yield from _images_beside(root, root)
    classes = {domain: folders_in(root / domain) for domain in domains}
    for name in sorted({name for found in classes.values() for name in found}):
        without = [d for d in domains if classes[d] and name not in classes[d]]
        if without:
            yield "class", f"class {name} has no folder in {', '.join(without)}"
    for domain in domains:
        yield from _images_beside(root, root / domain)
        if not classes[domain]:
            yield "domain", f"{domain} has no class folder"
        for name in classes[domain]:
            yield from _in_class(root, root / domain / name)


def _images_beside(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Images that lie outside of class folders, where nothing reads them."""
    for path in images_in(folder):
        yield "place", f"{path.relative_to(root)} is in no domain/class folder: it is never read"


def _in_class(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    if not images_in(folder):
        yield "empty", f"class {folder.relative_to(root)} has no image"
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")) or path.name.lower() in _SYSTEM:
            continue
        if path.is_dir():
            yield "place", f"{path.relative_to(root)} is a folder in a class: it is never read"
        elif path.suffix.lower() not in SUFFIXES:
            yield "not an image", f"{path.relative_to(root)} is not an image by its name"
        elif not path.is_file():
            yield "place", f"{path.relative_to(root)} leads to no file"
