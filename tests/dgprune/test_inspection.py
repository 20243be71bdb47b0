"""What `dgprune inspect` prints: cuts that differ look different."""

from dataclasses import asdict, replace

import pytest

from dgprune.inspection import print_inspection
from dgprune.lineage import LineageStep
from dgprune.reached import Reached
from dgprune.schema import Json, encode
from dgprune.structure import cost_of
from tests.fakes.many_records import read_template

CUT: Json = {
    "criterion": "l2",
    "ranking": "global",
    "ratio": 0.5,
    "limits": {"align_mlp": 8, "min_mlp": 16},
}


def printed(capsys: pytest.CaptureFixture[str], spec: Json, **more: object) -> str:
    subject = read_template().subject
    found: Json = {
        "kind": "checkpoint",
        "label": "l2-50",
        "digest": "0" * 64,
        "structure": encode(subject.structure),
        "cost": asdict(cost_of(subject.structure)),
        "origin": encode(subject.origin),
        "lineage": [encode(LineageStep(stage="prune", digest="f" * 64, spec=spec))],
        **more,
    }
    print_inspection(found, as_json=False)
    return capsys.readouterr().out


def test_limits_and_a_refit_that_was_not_made_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(capsys, CUT)
    assert "limits align_mlp 8, limits min_mlp 16" in text
    assert text.rstrip().endswith(", no refit")
    others = [
        {**CUT, "limits": {"align_mlp": 16, "min_mlp": 16}},
        {**CUT, "refit": True, "refit_images": 64},
        {**CUT, "between": {"epochs": 1}},
        {**CUT, "classes": ["dog", "cat"]},
    ]
    assert len({text, *(printed(capsys, spec) for spec in others)}) == 1 + len(others)
    assert "no refit" not in printed(capsys, others[1])


def test_what_a_search_reached_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    reached = Reached(
        runtime="onnxruntime", batch_size=1, threads=1, tier="smoke", low=2, estimate=2.1, high=2.2
    )
    text = printed(capsys, CUT, reached=asdict(replace(reached, latency_ms=3.0)))
    assert "  reached    2.10x [2.00, 2.20] on onnxruntime, batch 1, 3 ms\n" in text
    assert "reached" not in printed(capsys, CUT)
