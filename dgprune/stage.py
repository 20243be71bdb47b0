"""One stage of the chain: a folder named by a digest, made once, whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dgprune.errors import DgpruneError
from dgprune.progress import Progress
from dgprune.schema import Json
from dgprune.store import new_folder


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a stage left behind.

    `fresh` is False where an earlier run had already done it, `resumed` is True where one had done
    a part.
    """

    path: Path
    fresh: bool
    resumed: bool = False
    summary: Json = field(default_factory=dict)
    exit_code: int = 0


def run_stage(
    folder: Path,
    check: Callable[[Path], object],
    build: Callable[[Path], None],
    progress: Progress,
) -> Done:
    """Builds `folder` through `build(temporary folder)`, unless it is there already.

    `check` opens a finished folder and raises DgpruneError where it is damaged or not ours.
    """
    if folder.exists():
        try:
            check(folder)
        except DgpruneError as error:
            raise DgpruneError(f"{error}; remove {folder} to have it made again") from None
        progress.line(f"already done: {folder}")
        return Done(path=folder, fresh=False)
    with new_folder(folder) as temporary:
        build(temporary)
    return Done(path=folder, fresh=True)
