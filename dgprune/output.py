"""What a command prints when it is done: the path it wrote, or one JSON object."""

import json

import typer

from dgprune.stage import Done


def finish(done: Done, *, as_json: bool) -> Done:
    """Prints the result on stdout and hands it on to the caller (the chain, or the exit code)."""
    if as_json:
        typer.echo(json.dumps({"path": str(done.path), "fresh": done.fresh, **done.summary}))
    else:
        typer.echo(str(done.path))
    return done
