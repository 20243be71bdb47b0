"""What a command prints when it is done: the path it wrote, or one JSON object."""

import json
import os
import sys

from dgprune.stage import Done


def finish(done: Done, *, as_json: bool) -> Done:
    """Prints the result on stdout and hands it on to the caller (the chain, or the exit code)."""
    if as_json:
        say(json.dumps({"path": str(done.path), "fresh": done.fresh, **done.summary}))
    else:
        say(str(done.path))
    return done


def say(text: str) -> None:
    """Prints on stdout; where nobody reads on (`| head`), the command still ends as it would."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usable_streams() -> None:
    """Makes stdout and stderr take what is printed: closed ones swallow it, names keep their bytes.

    The name of a file may hold bytes that are no text; strict encoding would end in an error after
    all work was done.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # `2>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we run
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="surrogateescape" if name == "stdout" else "backslashreplace")
