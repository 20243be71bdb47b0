"""Commits of this repository: which one is here, and another one beside it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dgprune.errors import DgpruneError

ROOT = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> str:
    """What git prints; raises DgpruneError with what it said where it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise DgpruneError("git is not installed; install it to compare commits") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DgpruneError(f"git {arguments[0]} failed: {said}")
    return done.stdout.strip()


def commit_of(root: Path, ref: str) -> str:
    """The whole hash of `ref`; raises DgpruneError where there is none."""
    try:
        git(root, "rev-parse", "--git-dir")
    except DgpruneError:
        raise DgpruneError(
            f"{root.name} is not a git repository; clone it, so that there is another commit"
        ) from None
    try:
        return git(
            root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
        )
    except DgpruneError:
        raise DgpruneError(
            f"BASE={ref} is no commit here; git fetch it, or name one of git log"
        ) from None


def is_dirty(root: Path) -> bool:
    """Whether a tracked file differs from the commit."""
    return bool(git(root, "status", "--porcelain", "--untracked-files=no"))


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """A temporary folder that holds the files of `commit`."""
    with tempfile.TemporaryDirectory(prefix="dgprune-base-") as scratch:
        tree = Path(scratch) / commit[:9]
        git(root, "worktree", "add", "--detach", "--force", str(tree), commit)
        try:
            yield tree
        finally:
            git(root, "worktree", "remove", "--force", str(tree))
