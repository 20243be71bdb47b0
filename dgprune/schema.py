"""From frozen dataclasses to JSON and back, and the digest that names a piece of work."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from dgprune.errors import DgpruneError

Json = dict[str, Any]
T = TypeVar("T")
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


def encode(value: Any) -> Any:
    """JSON-ready form of a frozen dataclass (or of anything JSON already)."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value


def canonical_json(value: Any) -> str:
    """One spelling per value: sorted keys, no spaces, NaN refused; the text that is hashed."""
    return json.dumps(
        encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _adapter(cls: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter  # 0.2 s: paid by commands, never by --help

    setattr(cls, "__pydantic_config__", ConfigDict(extra="forbid"))  # noqa: B010
    return TypeAdapter(cls)


def decode(cls: type[T], value: Any, *, where: str, strict: bool = False) -> T:
    """`value` (parsed JSON or TOML) as a `cls`; raises DgpruneError naming the field at fault.

    A `strict` one takes no string for a number and no boolean for either: what a person typed.
    """
    from pydantic import ValidationError

    try:
        adapter = _adapter(cls)  # type: ignore[arg-type]  # a class is hashable
        result: T = (
            adapter.validate_json(json.dumps(value, default=str), strict=True)
            if strict  # as JSON, so that a list is one for a tuple
            else adapter.validate_python(value)
        )
    except ValidationError as error:
        problems = sorted(error.errors(), key=lambda problem: problem["type"] not in _UNKNOWN)
        raise DgpruneError(f"{where}: {_explain(problems[0], cls)}") from None
    return result


def _explain(problem: Any, cls: type[Any]) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in _UNKNOWN:
        known = _keys_beside(cls, problem["loc"])
        hint = nearest(str(problem["loc"][-1]), known) or f"; remove it (known: {', '.join(known)})"
        return f"unknown key {field!r}{hint}"
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"key {field!r} is missing; add it"
    said = str(problem["msg"]).replace("a valid array", "a list, such as [1]")
    return f"{field}: {said}" if field else said


def _keys_beside(cls: type[Any], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that a key at `location` inside a `cls` could have been."""
    for step in location[:-1]:
        if isinstance(step, str):
            (kind,) = [field.type for field in fields(cls) if field.name == step] or [cls]
            inner = [part for part in (kind, *get_args(kind)) if is_dataclass(part)]
            cls = inner[0] if inner else cls  # type: ignore[assignment]
    return [field.name for field in fields(cls)]


def seal(value: Json) -> Json:
    """`value` with an `id`: the digest of everything else, so that an edit is found."""
    return {**value, "id": digest(value)[:16]}


def unseal(
    value: Any, schema: int, *, where: str, older: tuple[int, ...] = (), text: str = ""
) -> Json:
    """The sealed `value` without its `id`; `text` is the JSON that it was parsed from, if at hand.

    Raises DgpruneError where its schema number is neither `schema` nor one of the `older` ones, or
    it was edited.
    """
    found = value.get("schema") if isinstance(value, dict) else None
    if found != schema and found not in older:
        raise DgpruneError(
            f"{where} has schema {found!r}; this dgprune reads schema {schema}, "
            "install the version that wrote it"
        )
    body = {key: part for key, part in value.items() if key != "id"}
    if not _is_sealed(text, value.get("id")) and _seal_of(body, where) != value.get("id"):
        raise DgpruneError(f"{where} was edited after it was written; restore or make it again")
    return body


def _is_sealed(text: str, id_: Any) -> bool:
    """Whether `text` without its id has that id: then nobody has to write it all again."""
    body = text.replace(f'"id":"{id_}",', "", 1)
    return len(body) < len(text) and hashlib.sha256(body.encode()).hexdigest()[:16] == id_


def _seal_of(body: Json, where: str) -> str:
    try:
        return digest(body)[:16]
    except ValueError:
        raise DgpruneError(
            f"{where} holds NaN or an infinity, which is never written; restore or make it again"
        ) from None


def read_json(path: Path) -> Any:
    """Parsed JSON of a file; raises DgpruneError where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DgpruneError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DgpruneError(f"{path}: not readable as JSON ({error}); restore the file") from None


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint such as `; did you mean 'sketch'?`, or nothing where no name is close."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
