"""Which measured latencies a plan asks for: a folder keeps those of every plan that ran in it."""

import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from dgprune.recipe_parts import BenchRecipe
from dgprune.runtimes.opening import runtime_spec
from dgprune.schema import Json, encode
from dgprune.store import json_lines, lines_text
from dgprune.sweep.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The files of a plan by the digest in their folders' names, and how they are timed."""

    bench: BenchRecipe | None
    runtime: Json
    digests: Set[str]

    @classmethod
    def by(cls, plan: Plan, artefacts: Set[str]) -> "Asked":
        """What `plan` asks of the folders `artefacts`."""
        bench = plan.bench
        runtime = (
            runtime_spec(
                plan.export.format,
                bench.runtime,
                bench.provider,
                bench.threads,
                allow_fallback=False,
            )
            if bench
            else None
        )
        return cls(
            bench=bench,
            runtime=encode(runtime) if runtime else {},
            digests={name.rpartition("-")[2] for name in artefacts},
        )

    def lines(self, file: Path) -> Iterator[str]:
        """Records in `file` that are asked for, as they were written."""
        if self.bench is None or not file.exists():
            return
        for line in json_lines(lines_text(file)):
            try:
                asked = self._has(self.bench, json.loads(line))
            except (ValueError, LookupError, TypeError, AttributeError):
                asked = True  # no such record: the report refuses it, and says where it stands
            if asked:
                yield line

    def _has(self, bench: BenchRecipe, record: Json) -> bool:
        digest: str = record["subject"]["lineage"][-1]["digest"]
        return (
            any(digest.startswith(own) for own in self.digests)
            and record["spec"]["tier"] == bench.tier
            and record["batch_size"] in bench.batch
            and record["runtime"] == self.runtime
        )
