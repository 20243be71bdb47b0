"""A table for a program: named and typed columns, and a row of values a thing measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from dgprune.lineage import chosen_by_oracle
from dgprune.records import RuntimeSpec, Subject

Value = bool | int | float | str | None
Kind = Literal["bool", "int", "float", "text"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    """One column: what it holds, and how it is told from a row's facts. None is "not measured"."""

    name: str
    kind: Kind
    about: str
    of: Callable[[T], Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known of a column without its rows."""

    name: str
    kind: Kind
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTable:
    """Values at full precision and in base units; text as the records have it."""

    name: str
    about: str
    columns: tuple[Head, ...]
    rows: tuple[tuple[Value, ...], ...]


def data_table(
    name: str, about: str, columns: Sequence[Column[T]], facts: Sequence[T]
) -> DataTable:
    """The table `name`, a row each of `facts`."""
    heads = tuple(Head(name=c.name, kind=c.kind, about=c.about) for c in columns)
    rows = tuple(tuple(column.of(fact) for column in columns) for fact in facts)
    return DataTable(name=name, about=about, columns=heads, rows=rows)


def text(name: str, about: str, of: Callable[[T], Value]) -> Column[T]:
    """A column of text; an empty one is nothing."""
    return Column(name=name, kind="text", about=about, of=lambda fact: of(fact) or None)


def count(name: str, about: str, of: Callable[[T], Value]) -> Column[T]:
    """A column of whole numbers."""
    return Column(name=name, kind="int", about=about, of=of)


def number(name: str, about: str, of: Callable[[T], Value]) -> Column[T]:
    """A column of numbers."""
    return Column(name=name, kind="float", about=about, of=of)


def flag(name: str, about: str, of: Callable[[T], Value]) -> Column[T]:
    """A column of true and false."""
    return Column(name=name, kind="bool", about=about, of=of)


def subject_columns(of: Callable[[T], Subject]) -> tuple[Column[T], ...]:
    """What the measured file is."""
    return (
        text("label", "what its maker called the file", lambda f: of(f).label),
        text("sha256", "digest of the file's bytes", lambda f: of(f).sha256),
        text("model", "name of the model in timm", lambda f: of(f).origin.model),
        count(
            "image_size_px",
            "side of the square input",
            lambda f: of(f).origin.preprocessing.image_size,
        ),
        text("data", "name of the data set", lambda f: of(f).origin.data_name),
        text("protocol", "how the data is split", lambda f: of(f).origin.protocol),
        text(
            "target",
            "the domain held out; none under the protocol paper-like",
            lambda f: of(f).origin.target,
        ),
        text("selection", "which images chose the weights", lambda f: selection(of(f))),
        text("format", "format of the file", lambda f: of(f).format),
        text("precision", "precision of the file", lambda f: of(f).precision),
    )


def runtime_columns(of: Callable[[T], RuntimeSpec]) -> tuple[Column[T], ...]:
    """What executed the file."""
    return (
        text("runtime", "what executed the file", lambda f: of(f).name),
        text("provider", "the runtime's device or provider", lambda f: of(f).provider),
        count("threads", "threads the runtime was given", lambda f: of(f).threads),
    )


def selection(subject: Subject) -> str:
    """Which images chose the weights: `oracle` where they were those held out."""
    if chosen_by_oracle(subject.lineage):
        return "oracle"
    return "source-val" if subject.origin.target else "validation"
