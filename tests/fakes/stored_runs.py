"""Files as `make bench` stores them, with invented numbers, of two machines."""

import json
from collections.abc import Mapping
from pathlib import Path

from dgprune.schema import Json
from reports.history import machine_key

MACHINE: Json = {
    "device": "cpu",
    "environment": {
        "cpu": "Cpu <b>One</b>",
        "cores": 2,
        "governor": None,
        "memory_bytes": 2**33,
        "libraries": {"onnxruntime": "1.24.0", "torch": "2.11.0"},
    },
}
OTHER: Json = {
    "device": "cpu",
    "environment": {
        **MACHINE["environment"],
        "libraries": {"onnxruntime": "1.25.0", "torch": "2.11.0"},
    },
}
MEDIANS_S = {
    ("onnxruntime", "dense"): 0.004,
    ("onnxruntime", "pruned"): 0.002,
    ("torch", "dense"): 0.008,
}


def store_run(
    folder: Path,
    commit: str,
    day: int,
    medians_s: Mapping[tuple[str, str], float] = MEDIANS_S,
    machine: Json = MACHINE,
    *,
    dirty: bool = False,
) -> Path:
    """A file as `make bench` stores it."""
    value = {
        "machine_info": machine,
        "commit_info": {"id": commit, "time": f"2026-01-{day:02}T12:00:00+01:00", "dirty": dirty},
        "benchmarks": [
            {
                "stats": {"median": s, "q1": 0.98 * s, "q3": 1.05 * s, "rounds": 100},
                "extra_info": {
                    "runtime": runtime,
                    "arm": arm,
                    "batch_size": 1,
                    "load_average": 0.5,
                },
            }
            for (runtime, arm), s in medians_s.items()
        ],
        "datetime": f"2026-02-{day:02}T08:00:00+00:00",
        "version": "5.3.1",
    }
    path = folder / machine_key(machine) / f"{commit[:12]}{'-changed' if dirty else ''}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def slowed(by: float) -> dict[tuple[str, str], float]:
    return {line: by * s for line, s in MEDIANS_S.items()}
