"""The images that an export may look at: of the source domains, never of the target."""

import hashlib
from dataclasses import dataclass

from dgprune.artefact import Calibration
from dgprune.data import DataSet, Images, Purpose, Sample, Split, load_images, to_input
from dgprune.data.images import Loading
from dgprune.data.split import balanced
from dgprune.errors import DgpruneError
from dgprune.lineage import Origin
from dgprune.progress import Progress
from dgprune.runtimes import Inputs
from dgprune.schema import nearest
from export.spec import ExportSpec

_CALIBRATION_BATCH = 4  # every tensor of the graph is kept for a batch


@dataclass(frozen=True, kw_only=True)
class SourceImages:
    """Images for calibration (of the training part) and for parity (of the validation part)."""

    spec: ExportSpec
    data: DataSet
    split: Split
    origin: Origin
    progress: Progress

    def __post_init__(self) -> None:
        known = [domain for domain in self.data.domains if domain != self.origin.target]
        for domain in self.spec.calibrate_on:
            if domain == self.origin.target:
                raise DgpruneError(
                    f"--calibrate-on {domain}: that domain is held out and must stay unseen; "
                    f"name some of {', '.join(known)}"
                )
            if domain not in known:
                raise DgpruneError(
                    f"--calibrate-on {domain!r} is no source domain{nearest(domain, known)}; "
                    f"there are {', '.join(known)}"
                )

    def for_parity(self) -> Images:
        """`parity_images` of every source domain."""
        count = self.spec.parity_images * (len(self.data.domains) - 1)
        return self._load(balanced(self.split.validation, count, seed=0), Purpose.CHECK)

    def for_calibration(self) -> tuple[list[Inputs], Calibration]:
        """Batches of model input, and what the sidecar says of them."""
        domains = set(self.spec.calibrate_on)
        there = [s for s in self.split.train if not domains or s.domain in domains]
        images = self._load(
            balanced(tuple(there), self.spec.calibration_images, seed=0), Purpose.CALIBRATE
        )
        inputs = self.inputs(images)
        size = _CALIBRATION_BATCH if self.spec.batch == "dynamic" else int(self.spec.batch)
        whole = range(0, len(inputs) - size + 1, size)
        if not whole:
            raise DgpruneError(
                f"{len(inputs)} calibration images do not fill a batch of {size}; "
                "raise --calibration-images"
            )
        return [inputs[start : start + size] for start in whole], _told(images.samples)

    def inputs(self, images: Images) -> Inputs:
        """What the file takes."""
        if self.spec.with_preprocessing:
            return images.pixels
        return to_input(images.pixels, self.origin.preprocessing)

    def _load(self, samples: tuple[Sample, ...] | list[Sample], purpose: Purpose) -> Images:
        loading = Loading(
            target=self.origin.target,
            skip_bad_images=self.spec.skip_bad_images,
            progress=self.progress,
        )
        return load_images(
            self.data, samples, self.origin.preprocessing, purpose=purpose, loading=loading
        )


def _told(samples: tuple[Sample, ...]) -> Calibration:
    keys = sorted(sample.key for sample in samples)
    return Calibration(
        images=len(keys),
        domains=tuple(sorted({sample.domain for sample in samples})),
        keys_sha256=hashlib.sha256("\n".join(keys).encode()).hexdigest(),
    )
