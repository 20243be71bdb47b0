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

    `fresh` is False where an earlier run had already done it.
    """

    path: Path
    fresh: bool
    summary: Json = field(default_factory=dict)
    exit_code: int = 0


def run_stage(folder: Path, marker: str, build: Callable[[Path], None], progress: Progress) -> Done:
    """Builds `folder` through `build(temporary folder)`, unless it is there already.

    `marker` is the file that a finished folder of this kind holds; a folder without it is not ours.
    """
    if folder.exists():
        if not (folder / marker).is_file():
            raise DgpruneError(f"{folder} holds something else; remove it or choose another --out")
        progress.line(f"already done: {folder}")
        return Done(path=folder, fresh=False)
    with new_folder(folder) as temporary:
        build(temporary)
    return Done(path=folder, fresh=True)
