"""A report's folder: which files are of the report, and how a new one takes the place of an old."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from dgprune import __version__
from dgprune.errors import DgpruneError
from dgprune.schema import Json, canonical_json, digest, file_sha256, read_json
from dgprune.store import claim, explained, new_folder
from dgprune.temporary import remove_left_by_killed_runs

MARKER = "report.json"
_DRAWN_BY = ("*.py", "*.j2", "*.css", "*.js")
_PART = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
_LONGEST_NAME = 200


def publish(out: Path, made_of: Json, make: Callable[[], dict[str, bytes]]) -> bool:
    """Writes what `make` gives into `out`; False where it is there already, of the same `made_of`.

    The version and the code that draws are always part of what it is made of. Raises DgpruneError
    where `out` holds something else.
    """
    _require_ours(out)
    identity = digest(made_of | {"version": __version__, "code": _code()})
    old = read_manifest(out)
    if old["identity"] == identity and is_intact(out, old["files"]):
        return False
    with explained(out):
        claim(out.parent)
        shutil.rmtree(out / ".new", ignore_errors=True)  # of a run that was killed
    place = out if not out.exists() else out / ".new"
    # Beside a report may lie what is not ours: only what has the name of a temporary of it goes.
    for folder, name in ((out.parent, out.name), (out, ".new")):
        if folder.is_dir():
            remove_left_by_killed_runs(folder, name)
    with new_folder(place, survives_power_cut=False) as folder:
        _write_files(folder, make(), identity)
    if (out / ".new").is_dir():
        _replace(out, out / ".new", old["files"])
    return True


def _code() -> str:
    """Digest of what draws a page: one that an older state of it drew is drawn again."""
    files = (path for kind in _DRAWN_BY for path in Path(__file__).parent.rglob(kind))
    return digest([[path.name, file_sha256(path)] for path in sorted(files)])


def _require_ours(out: Path) -> None:
    with explained(out):
        if out.exists() and not out.is_dir():
            raise DgpruneError(f"--out {out} is a file; name a folder")
        if out.is_dir() and any(out.iterdir()) and not (out / MARKER).is_file():
            raise DgpruneError(f"--out {out} holds something else; name a new or empty folder")


def inside(folder: Path, name: str) -> Path | None:
    """The path of a report's file in `folder`; None where `name` leads elsewhere.

    A manifest is a file that anyone may have written: a name is short and plain, no part of it is
    empty or begins with a dot, and none is a link that leads out.
    """
    if len(name) > _LONGEST_NAME or not re.fullmatch(f"{_PART}(/{_PART})*", name):
        return None
    path = folder / name
    return path if path.parent.resolve().is_relative_to(folder.resolve()) else None


def read_manifest(folder: Path) -> Json:
    """Identity and file digests of the report in `folder`; of none where there is no report."""
    if not (folder / MARKER).is_file():
        return {"identity": None, "files": {}}
    value = read_json(folder / MARKER)
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise DgpruneError(f"{folder / MARKER} is not what dgprune wrote; name another --out")
    return {"identity": value.get("identity"), "files": value["files"]}


def is_intact(folder: Path, files: Json) -> bool:
    """Whether every file of a manifest is in `folder`, with the bytes that were written."""
    paths = [(inside(folder, name), sha256) for name, sha256 in files.items()]
    return all(
        path is not None and path.is_file() and file_sha256(path) == sha256
        for path, sha256 in paths
    )


def _write_files(folder: Path, files: dict[str, bytes], identity: str) -> None:
    """Writes a report's files into the new `folder`, and what they are into its manifest."""
    for name, data in files.items():
        path = inside(folder, name)
        assert path is not None, name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    written = {name: file_sha256(folder / name) for name in sorted(files)}
    manifest = {"identity": identity, "version": __version__, "files": written}
    (folder / MARKER).write_text(canonical_json(manifest) + "\n", encoding="utf-8")


def _replace(out: Path, fresh: Path, old_files: Json) -> None:
    """Puts the report in `fresh` in the place of that in `out`.

    Files that are not of a report stay, and so does all that a name of the old manifest would reach
    outside of `out`.
    """
    with explained(out):
        for name in old_files:
            path = inside(out, name)
            if path is not None and not (fresh / name).exists():
                _remove(path, out)
        paths = [path for path in sorted(fresh.rglob("*")) if path.is_file()]
        for path in sorted(paths, key=lambda path: path == fresh / MARKER):
            path.replace(_place(out, path.relative_to(fresh).as_posix()))
        shutil.rmtree(fresh)  # the marker came last: until then the old one does not fit


def _place(out: Path, name: str) -> Path:
    """Where a file of the new report goes."""
    path = inside(out, name)
    if path is None:
        raise DgpruneError(f"{(out / name).parent} is a link that leads out of {out}; remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _remove(path: Path, out: Path) -> None:
    """Removes a file of the old report, and its folder where it was the last one in it."""
    if path.is_dir() and not path.is_symlink():
        return
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == out or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()
