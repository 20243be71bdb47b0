"""What the tests share: a tiny data folder, a tiny chain, and torch on one thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.accuracy import EvaluateSpec, evaluate
from benchmark.cells import LatencySpec
from benchmark.latency import bench
from dgprune.models import Transformer, create
from dgprune.source import SourceSpec
from export.export_checkpoint import export
from export.spec import ExportSpec
from pruning.finetune_checkpoint import FinetuneSpec, finetune
from pruning.prune_checkpoint import prune
from pruning.spec import PruneSpec
from pruning.training_spec import TrainSpec

torch.set_num_threads(1)
MICRO = "vit_micro_patch4_32"


def make_folder(root: Path, domains: int = 3, classes: int = 2, images: int = 5) -> Path:
    """A data folder of noise whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for domain in range(domains):
        for label in range(classes):
            folder = root / f"domain{domain}" / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 100, (32, 32, 3)) + label * 150
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that tests measure or decode goes to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DGPRUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "noise")


@pytest.fixture
def micro() -> Transformer:
    torch.manual_seed(0)
    return create(MICRO, num_classes=10, image_size=None)


@dataclass(frozen=True, kw_only=True)
class TinyChain:
    """One pass of the chain on noise: folders of a dense and a pruned model, and their records."""

    store: Path
    data: str
    target: str
    dense: Path
    pruned: Path
    dense_artefact: Path
    pruned_artefact: Path
    records: Path


@pytest.fixture(scope="session")
def chain(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyChain:
    store = tmp_path_factory.mktemp("chain") / "store"
    data, target, records = str(data_folder), "domain2", store / "records.jsonl"
    source = SourceSpec(model=MICRO, weights="random", data=data, target=target)
    train = TrainSpec(epochs=1, batch_size=8, augmentation="glyph")
    dense = finetune(FinetuneSpec(source=source, train=train), store).path
    source = SourceSpec(model=str(dense), data=data, target=target)
    pruned = prune(
        source, PruneSpec(criterion="taylor", score_images=4, ranking="global", refit=False), store
    ).path
    artefacts = []
    for checkpoint in (dense, pruned):
        spec = ExportSpec(checkpoint=str(checkpoint), data=data)
        artefacts.append(export(spec, store).path)
        evaluate(EvaluateSpec(subject=str(artefacts[-1]), data=data, target=target), records)
    for artefact in artefacts:
        timed = LatencySpec(
            artefact=str(artefact),
            baseline=str(artefacts[0]),
            data=data,
            batch_sizes=(1,),
            tier="smoke",
        )
        bench(timed, records)
    return TinyChain(
        store=store,
        data=data,
        target=target,
        dense=dense,
        pruned=pruned,
        dense_artefact=artefacts[0],
        pruned_artefact=artefacts[1],
        records=records,
    )
