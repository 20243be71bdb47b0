"""The stage `verify`: every printed number again, from the raw records."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgprune import __version__
from dgprune.artefact import open_artefact
from dgprune.errors import DgpruneError
from dgprune.records import Entry, read_records
from dgprune.schema import Json, decode, encode, file_sha256, read_json, unseal
from dgprune.stage import Done
from reports.claim import SCHEMA, Claim, claim_of
from reports.history import read_points
from reports.report import HISTORY, MARKER, RECORDS, contents
from reports.rows import tables

_PICTURES = (".png",)


class NotVerifiedError(DgpruneError):
    """What is printed is not what the records say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifySpec:
    """What to verify: a report's folder or a claim's file, and the artefacts it speaks of."""

    path: Path
    artefacts: tuple[Path, ...] = ()


def verify(spec: VerifySpec) -> Done:
    """What was verified, in words; exit code 1, with the reason, where anything differs.

    Raises DgpruneError where `spec.path` is neither a report nor a claim.
    """
    path = spec.path
    is_report = (path / MARKER).is_file()
    if not is_report and not (path.is_file() and path.suffix == ".json"):
        raise DgpruneError(f"{path} is neither a report's folder nor a claim's file")
    try:
        told = _report(path) if is_report else _claim(path)
        told += [_artefact(folder, path) for folder in spec.artefacts]
    except DgpruneError as error:
        return Done(path=path, fresh=True, summary={"not_verified": str(error)}, exit_code=1)
    return Done(path=path, fresh=True, summary={"verified": told})


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
    body = unseal(read_json(path), SCHEMA, where=str(path))
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
        raise NotVerifiedError(
            f"{folder} was made by dgprune {manifest.get('version')}, this is {__version__}; "
            "verify it with that version, or make it again"
        )
    entries = read_records(folder / RECORDS)
    for name, sha256 in manifest["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise NotVerifiedError(f"{folder / name} is not the file that was written")
    histories = read_points(folder / HISTORY) if HISTORY in manifest["files"] else ()
    lines = (folder / RECORDS).read_text("utf-8").splitlines()
    again = contents(entries, tables(entries), lines, histories)
    for name, data in again.items():
        if not name.endswith(_PICTURES) and (folder / name).read_bytes() != data:
            raise NotVerifiedError(f"{folder / name} does not say what the records say")
    claimed = [folder / name for name in sorted(again) if name.startswith("claim-")]
    told = [line for path in claimed for line in _claim(path)]
    return [f"{len(again)} files from {len(entries)} records", *told]


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
    return _subjects(read_records(path / RECORDS))


def _subjects(entries: Sequence[Entry]) -> set[str]:
    return {entry.record.subject.sha256 for entry in entries}


def show(summary: Json) -> list[str]:
    """The lines for a person."""
    if "not_verified" in summary:
        return [f"not verified: {summary['not_verified']}"]
    return [f"verified: {line}" for line in summary["verified"]]
