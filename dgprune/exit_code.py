"""How a command ends: every failure becomes one line and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from dgprune.errors import DgpruneError
from dgprune.stage import Done

BAD_INPUT, INTERRUPTED = 2, 130
# typer carries its own copy of click, whose base of usage errors has no public name.
_UsageError: Any = typer.BadParameter.__base__


def exit_code_of(command: Callable[[], Any]) -> int:
    """Runs `command`: 0 success, 1 a verdict of no, 2 bad input, 3 inconclusive, 130 interrupted.

    What goes wrong is one line on stderr.
    """
    try:
        result = command()
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "dgprune"
        return _fail(f"{error.format_message()} (see {path} --help)")
    except DgpruneError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; `dgprune doctor` says how to get it")
    except BrokenPipeError:  # `dgprune ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error}; check the disk and the permissions")
    if isinstance(result, Done):
        return result.exit_code
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT
