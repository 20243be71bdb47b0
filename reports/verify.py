"""The stage `verify`: every printed number again, from the raw records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgprune import __version__
from dgprune.artefact import is_artefact, open_artefact
from dgprune.errors import DgpruneError
from dgprune.records import Entry, read_records
from dgprune.schema import Json, decode, encode, file_sha256, read_json, unseal
from dgprune.stage import Done
from reports.claim import SCHEMA, Claim, claim_of
from reports.compare.compare_records import made_again
from reports.compare.page import FIRST, SECOND
from reports.data.parquet import is_available, is_same_parquet
from reports.folder import MARKER, inside
from reports.history import read_points
from reports.material import Material
from reports.missing import read_files
from reports.report import HISTORY, RECORDS, contents

_PICTURES, _PARQUET = (".png",), ".parquet"


class NotVerifiedError(DgpruneError):
    """What is printed is not what the records say."""


class _OtherVersionError(DgpruneError):
    """Another version of dgprune made it: what this one would make says nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySpec:
    """What to verify: a report's folder or a claim's file, and the artefacts it speaks of."""

    path: Path
    artefacts: tuple[Path, ...] = ()


def verify(spec: VerifySpec) -> Done:
    """What was verified, in words; exit code 1, with the reason, where anything differs.

    Raises DgpruneError where `spec.path` is neither a report nor a claim, where a part is not
    there, or another dgprune made it: nothing is known to differ then.
    """
    path = spec.path
    is_report = (path / MARKER).is_file()
    if not is_report and not _is_claim(path):
        raise DgpruneError(f"{path} is neither a report's folder nor a claim's file")
    records = (path if is_report else path.parent) / RECORDS
    if not is_report and not records.is_file():
        raise DgpruneError(f"{records} is missing, which {path.name} follows from; copy it there")
    for folder in spec.artefacts:
        if not is_artefact(folder):
            raise DgpruneError(f"--artefact {folder} is not an artefact folder; name one")
    try:
        told = _report(path) if is_report else _claim(path)
        told += [_artefact(folder, path) for folder in spec.artefacts]
    except _OtherVersionError:
        raise
    except DgpruneError as error:
        return Done(path=path, fresh=True, summary={"not_verified": str(error)}, exit_code=1)
    return Done(path=path, fresh=True, summary={"verified": told})


def _is_claim(path: Path) -> bool:
    """Whether a file has some key of a claim, edited or not."""
    if not path.is_file() or path.suffix != ".json":
        return False
    try:
        found = read_json(path)
    except DgpruneError:  # damaged: what is wrong with it is told by what reads it
        return True
    return isinstance(found, dict) and bool({"schema", "kind", "record", "speedup"} & found.keys())


def _claim(path: Path) -> list[str]:
    """What holds of a claim, from `records.jsonl` beside it."""
    claim = _decoded(path)
    entries = read_records(path.parent / RECORDS)
    entry = next((e for e in entries if e.id == claim.record), None)
    if entry is None:
        raise NotVerifiedError(f"{path}: record {claim.record} is not in {RECORDS} beside it")
    again = claim_of(entry, entries)
    if not isinstance(again, Claim):
        raise NotVerifiedError(f"{path}: the records back no claim: {again}")
    printed, computed = (json.loads(json.dumps(encode(value))) for value in (claim, again))
    difference = _first_difference(printed, computed)
    if difference:
        raise NotVerifiedError(f"{path}: {difference}")
    return [claim.statement]


def _decoded(path: Path) -> Claim:
    value = read_json(path)
    schema = value.get("schema") if isinstance(value, dict) else None
    whole = schema if isinstance(schema, int) else SCHEMA
    body = unseal(value, whole, where=str(path))  # first: one that was edited is no other version
    if whole != SCHEMA:
        raise _OtherVersionError(
            f"{path} has schema {whole}, this dgprune reads schema {SCHEMA}; make its report again"
        )
    if body.pop("kind", None) != "claim":
        raise NotVerifiedError(f"{path} is no claim")
    del body["schema"]
    return decode(Claim, body, where=str(path))


def _first_difference(printed: Any, computed: Any, where: str = "") -> str | None:
    """`speedup.low is 2.1, the records say 2.0`: the first number that is not the records'."""
    if isinstance(printed, dict) and isinstance(computed, dict):
        for key in computed:
            found = _first_difference(printed.get(key), computed[key], f"{where}.{key}".strip("."))
            if found:
                return found
        return None
    return None if printed == computed else f"{where} is {printed}, the records say {computed}"


def _report(folder: Path) -> list[str]:
    """What holds of a report: its pages are made again from the records beside them."""
    manifest = read_json(folder / MARKER)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise NotVerifiedError(f"{folder / MARKER} is not what dgprune wrote")
    if manifest.get("version") != __version__:
        raise _OtherVersionError(
            f"{folder} was made by dgprune {manifest.get('version')}, this is {__version__}; "
            "verify it with that version, or make it again"
        )
    files = manifest["files"]
    _require_written(folder, files)
    has_parquet = any(name.endswith(_PARQUET) for name in files)
    again = _made_again(folder, files, parquet=has_parquet)
    for name in sorted(files.keys() ^ again.keys()):
        if name in again or not name.endswith(_PARQUET) or is_available():
            raise NotVerifiedError(
                f"{folder / name} is no file of both the report and its records: another state of "
                "dgprune wrote it; make the report again"
            )
    for name, data in again.items():
        _require_said_again(folder, name, data)
    claimed = [folder / name for name in sorted(again) if name.startswith("claim-")]
    told = [line for path in claimed for line in _claim(path)]
    return [_counted(list(again)), *_unread(has_parquet), *told]


def _counted(names: Sequence[str]) -> str:
    """How many files were made again and compared, and of how many pictures only the digest was.

    The bytes of a picture depend on the fonts of the machine; what it draws stands in the page too.
    """
    pictures = sum(name.endswith(_PICTURES) for name in names)
    told = f"{len(names) - pictures} files, made again from the records"
    if not pictures:
        return told
    return (
        f"{told}; pictures by the digest in {MARKER} only: {pictures} (the data of their charts is "
        "in report.html, which was made again)"
    )


def _require_written(folder: Path, files: Json) -> None:
    """Raises NotVerifiedError where a file of the manifest is not what was written."""
    for name, sha256 in files.items():
        path = inside(folder, name)
        if path is None:
            raise NotVerifiedError(f"{folder / MARKER} names {name!r}, which is outside of it")
        if not path.is_file() or file_sha256(path) != sha256:
            raise NotVerifiedError(f"{path} is not the file that was written")


def _made_again(folder: Path, files: Json, *, parquet: bool) -> dict[str, bytes]:
    """What the records beside a report, or beside a comparison, make now."""
    if FIRST in files:
        return made_again(folder)
    entries, missing, lines = read_files([folder / RECORDS])
    material = Material(
        entries=tuple(entries),
        missing=tuple(missing),
        histories=read_points(folder / HISTORY) if HISTORY in files else (),
    )
    return contents(material, lines, parquet=parquet)


def _require_said_again(folder: Path, name: str, data: bytes) -> None:
    """Raises NotVerifiedError where a file is not what the records make now.

    Pictures are compared by digest only, which `_counted` tells. Another pyarrow writes other
    bytes: of Parquet it is names, types and values that are compared.
    """
    path = folder / name
    if name.endswith(_PICTURES):
        return
    if name.endswith(_PARQUET):
        same = is_same_parquet(path.read_bytes(), data)
    else:
        same = path.read_bytes() == data
    if not same:
        raise NotVerifiedError(f"{path} does not say what the records say")


def _unread(has_parquet: bool) -> list[str]:
    if not has_parquet or is_available():
        return []
    return ["of Parquet the digests only: pyarrow is not installed"]


def _artefact(folder: Path, path: Path) -> str:
    """That the bytes in `folder` are those of a file that the claim or report speaks of."""
    sha256 = open_artefact(folder).artefact.sha256
    if sha256 not in _spoken_of(path):
        raise NotVerifiedError(f"{folder} holds other bytes than {path} speaks of")
    return f"{folder} holds the bytes that were measured"


def _spoken_of(path: Path) -> set[str]:
    if path.is_file():
        claim = _decoded(path)
        return {claim.baseline.sha256, claim.candidate.sha256}
    kept = (FIRST, SECOND) if (path / FIRST).is_file() else (RECORDS,)
    return _subjects([entry for name in kept for entry in read_records(path / name)])


def _subjects(entries: Sequence[Entry]) -> set[str]:
    return {entry.record.subject.sha256 for entry in entries}


def show(summary: Json) -> list[str]:
    """The lines for a person."""
    if "not_verified" in summary:
        return [f"not verified: {summary['not_verified']}"]
    return [f"verified: {line}" for line in summary["verified"]]
