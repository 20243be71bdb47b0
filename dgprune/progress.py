"""What a person sees while work goes on: bars on a terminal, plain lines without one."""

import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Told by long work how far it is."""

    def line(self, text: str) -> None:
        """Says one finished thing."""

    def track(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        """Yields `items` and shows how many of `total` are done."""


class Silent:
    """Says nothing: `--quiet`, and the default of every function."""

    def line(self, text: str) -> None:
        """Says nothing."""

    def track(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        """Yields `items`."""
        yield from items


class Plain:
    """Lines without bars, for logs and pipes."""

    def line(self, text: str) -> None:
        """One line on stderr."""
        print(text, file=sys.stderr, flush=True)

    def track(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        """Yields `items`; the lines of the finished stages are progress enough for a log."""
        yield from items


class Bars:
    """A transient bar for work that takes more than a moment, on a terminal."""

    def line(self, text: str) -> None:
        """One line on stderr."""
        from rich.console import Console

        Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)

    def track(self, items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
        """Yields `items` under a bar that vanishes when done."""
        from rich.console import Console
        from rich.progress import track

        yield from track(items, label, total, transient=True, console=Console(stderr=True))


SILENT = Silent()


def progress_for(*, quiet: bool) -> Progress:
    """The kind of progress that fits the terminal and the flags."""
    if quiet:
        return SILENT
    return Bars() if sys.stderr.isatty() else Plain()
