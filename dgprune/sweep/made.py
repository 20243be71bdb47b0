"""What a cell left behind, and what of it is no longer as it was left."""

from dataclasses import dataclass
from pathlib import Path

from dgprune.schema import file_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A file as it was when its cell ended."""

    size_bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a cell left behind: names of folders in the store, SHA-256 of its records' file.

    `files` holds every file of both folders, as FOLDER/FILE; None is what journals of schema 1 did
    not store.
    """

    checkpoint: str
    artefact: str
    records_sha256: str
    files: dict[str, SeenFile] | None = None

    def __post_init__(self) -> None:
        for name in self.folders:  # what is damaged is taken away: only ever inside of the store
            if not name or Path(name).name != name or name == "..":
                raise ValueError(f"{name!r} must be the name of a folder in the store")

    @property
    def folders(self) -> tuple[str, str]:
        """Both folders."""
        return (self.checkpoint, self.artefact)


def files_of(store: Path, *folders: str) -> dict[str, SeenFile]:
    """Every file of `folders` as it is now, in order of name."""
    paths = [path for name in folders for path in sorted((store / name).rglob("*"))]
    return {path.relative_to(store).as_posix(): _seen(path) for path in paths if path.is_file()}


def _seen(path: Path) -> SeenFile:
    stat = path.stat()
    return SeenFile(size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=file_sha256(path))


def damage(made: Made, store: Path) -> dict[str, str]:
    """What is wrong, by folder: the first file that is gone or changed; nothing where all is well.

    Cheap: a file of the same size that was not written since is taken as the same. One that was, or
    that came with a copied store, is read and compared by its SHA-256. Of a cell of an old journal
    only the folders are known.
    """
    found = {name: f"{name} is gone" for name in made.folders if not (store / name).is_dir()}
    for file, then in (made.files or {}).items():
        wrong = _difference(store / file, then)
        if wrong:
            found.setdefault(file.partition("/")[0], f"{file} {wrong}")
    return found


def _difference(path: Path, then: SeenFile) -> str | None:
    try:
        now = path.stat()
    except OSError:
        return "is gone"
    if now.st_size != then.size_bytes:
        return f"has {now.st_size} bytes, not {then.size_bytes}"
    if now.st_mtime_ns != then.mtime_ns and file_sha256(path) != then.sha256:
        return "was changed"
    return None
