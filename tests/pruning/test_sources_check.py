"""Every source domain has its part in training, selection, scores and refit, or it is refused."""

from pathlib import Path

import pytest

from dgprune.data import leave_one_out, open_data
from dgprune.errors import DgpruneError
from dgprune.source import SourceSpec
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.prune_checkpoint import prune
from pruning.spec import PruneSpec
from pruning.training_spec import TrainSpec
from tests.conftest import MICRO, make_folder


def broken(folder: Path, part: str) -> SourceSpec:
    """A model on data whose images of domain1 in one part of the split cannot be read."""
    data = make_folder(folder / "data")
    split = leave_one_out(open_data(str(data)), "domain2")
    for sample in getattr(split, part):
        if sample.domain == "domain1":
            path = data / sample.key
            path.write_bytes(bytes(path.stat().st_size))
    return SourceSpec(
        model=MICRO, weights="random", data=str(data), target="domain2", skip_bad_images=True
    )


@pytest.mark.parametrize(
    ("part", "says"),
    [("validation", "all 2 .* for model selection"), ("train", "all 8 .* for training")],
)
def test_a_training_without_a_source_domain_is_refused(
    tmp_path: Path, part: str, says: str
) -> None:
    spec = FinetuneSpec(source=broken(tmp_path, part), train=TrainSpec(epochs=1))
    with pytest.raises(DgpruneError, match=f"--skip-bad-images leaves out {says}") as error:
        finetune(spec, tmp_path / "out")
    assert "domain 'domain1'" in str(error.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (PruneSpec(criterion="taylor", ranking="global", refit=False), "for importance scores"),
        (PruneSpec(criterion="l1", ranking="global", refit=True), "for the refit"),
    ],
)
def test_a_cut_that_sees_no_image_of_a_domain_is_refused(
    tmp_path: Path, spec: PruneSpec, says: str
) -> None:
    with pytest.raises(DgpruneError, match=says):
        prune(broken(tmp_path, "train"), spec, tmp_path / "out")
