"""What may be compared: arms that differ in what they are said to differ in only."""

from collections.abc import Mapping

from benchmark.subject import OpenSubject
from dgprune.errors import DgpruneError
from dgprune.records import Varies


def require_one_onnxruntime(libraries: Mapping[str, str]) -> None:
    """Raises DgpruneError where two packages overwrite each other, and nobody knows which runs."""
    if {"onnxruntime", "onnxruntime-gpu"} <= libraries.keys():
        raise DgpruneError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; "
            "uninstall both, then install the one you need"
        )


def require_comparable(
    candidate: OpenSubject, baseline: OpenSubject, varies: Varies = "network"
) -> None:
    """Raises DgpruneError where the arms differ in more than they are said to."""
    a, b = candidate.subject, baseline.subject
    mine_asked, theirs_asked = a.lineage[-1].spec, b.lineage[-1].spec

    def of_export(*keys: str) -> tuple[object, object]:
        return [mine_asked.get(k) for k in keys], [theirs_asked.get(k) for k in keys]

    parts = {
        "format": (a.format, b.format),
        "precision": (a.precision, b.precision),
        "batch": (candidate.form.batch, baseline.form.batch),
        "preprocessing inside": (candidate.form.dtype, baseline.form.dtype),
        "input": (a.origin.preprocessing, b.origin.preprocessing),
        "classes": (a.origin.classes, b.origin.classes),
        "opset": of_export("opset"),
        "calibration": of_export("calibration_images", "calibrate_on"),
        "largest batch": of_export("largest_batch"),
        "network": (a.structure, b.structure),
    }
    free = {
        "network": ("network",),
        "precision": ("precision", "opset", "calibration"),
        "runtime": ("format", "opset", "batch", "calibration", "largest batch"),
    }[varies]
    for name, (mine, theirs) in parts.items():
        if mine != theirs and name not in free:
            told = "another network" if name == "network" else f"{mine} against {theirs}"
            raise DgpruneError(
                f"the arms differ in {name} ({told}); the speedup of {_OF[varies]} needs arms "
                f"that differ in the {varies} only"
            )


def require_difference(
    candidate: OpenSubject, baseline: OpenSubject, varies: Varies, same_runtime: bool
) -> None:
    """Raises DgpruneError where precision or runtime should differ and does not."""
    same = {
        "precision": candidate.subject.precision == baseline.subject.precision,
        "runtime": same_runtime,
    }
    if same.get(varies):
        raise DgpruneError(
            f"--vary {varies}: both arms have the same {varies}; name another --baseline"
            + (" or --baseline-runtime" if varies == "runtime" else "")
        )


_OF = {"network": "pruning", "precision": "a precision", "runtime": "a runtime"}
