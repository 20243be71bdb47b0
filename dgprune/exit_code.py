"""How a command ends: every failure becomes one line and an exit code."""

import contextlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from dgprune.errors import DgpruneError
from dgprune.stage import Done

BAD_INPUT, OWN_FAILURE, INTERRUPTED = 2, 70, 130  # 70: EX_SOFTWARE of sysexits.h
# typer carries its own copy of click, whose base of usage errors has no public name.
_UsageError: Any = typer.BadParameter.__base__


def exit_code_of(command: Callable[[], Any]) -> int:
    """Runs `command`: 0 success, 1 a verdict of no, 2 bad input, 3 inconclusive, 130 interrupted.

    What goes wrong is one line on stderr; a failure of dgprune itself is 70, under a traceback.
    """
    try:
        return _code_of(command)
    except _UsageError as error:
        path = error.ctx.command_path if error.ctx else "dgprune"
        return _fail(f"{error.format_message()} (see {path} --help)")
    except DgpruneError as error:
        return _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        _print("interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        return _fail(f"{error.name} is not installed; `dgprune doctor` says how to get it")
    except OSError as error:
        return _fail(f"{error}; check the disk and the permissions")
    except Exception:  # python would end with 1, which is a verdict here
        _print(traceback.format_exc())
        _fail("this is a mistake of dgprune's own; please report the lines above")
        return OWN_FAILURE


def _code_of(command: Callable[[], Any]) -> int:
    try:
        result = command()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer's answer to `--help | head`
            return 0
        raise
    if isinstance(result, Done):
        return result.exit_code
    return result if isinstance(result, int) else 0


def _fail(message: str) -> int:
    _print(f"error: {' '.join(message.split())}")
    return BAD_INPUT


def _print(text: str) -> None:
    with contextlib.suppress(OSError):  # a stderr that takes nothing changes no exit code
        print(text, file=sys.stderr, flush=True)
