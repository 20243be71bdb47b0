"""The images that an export may look at: those that were trained on, never what is held out."""

import hashlib
from dataclasses import dataclass
from itertools import zip_longest

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
        known = self._sources
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
        return self._load(self._of_each(self.split.validation, self._per_domain), Purpose.CHECK)

    def require_enough(self) -> None:
        """Raises DgpruneError where the images of parity do not fill one batch."""
        if self.spec.batch == "dynamic":
            return
        there = len(self._of_each(self.split.validation, self._per_domain))
        if there < int(self.spec.batch):
            raise DgpruneError(
                f"--batch {self.spec.batch}: parity has {there} images; "
                "raise --parity-images, or lower --batch"
            )

    def for_calibration(self) -> tuple[list[Inputs], Calibration]:
        """Batches of model input, and what the sidecar says of them."""
        domains = self.spec.calibrate_on or self._sources
        count = self.spec.calibration_images
        share = {
            domain: count // len(domains) + (place < count % len(domains))
            for place, domain in enumerate(sorted(domains))
        }
        images = self._load(self._of_each(self.split.train, share), Purpose.CALIBRATE)
        inputs = self.inputs(images)
        dynamic = self.spec.batch == "dynamic"
        size = _CALIBRATION_BATCH if dynamic else int(self.spec.batch)
        used = len(inputs) if dynamic else len(inputs) // size * size
        if not used:
            raise DgpruneError(
                f"{len(inputs)} calibration images do not fill a batch of {size}; "
                "raise --calibration-images"
            )
        batches = [inputs[start : min(start + size, used)] for start in range(0, used, size)]
        return batches, _told(images.samples[:used])

    @property
    def _sources(self) -> tuple[str, ...]:
        return tuple(name for name in self.data.domains if name != self.origin.target)

    @property
    def _per_domain(self) -> dict[str, int]:
        return dict.fromkeys(self._sources, self.spec.parity_images)

    @staticmethod
    def _of_each(samples: tuple[Sample, ...], share: dict[str, int]) -> tuple[Sample, ...]:
        """As many samples of each domain as its share says, dealt evenly over classes.

        Domains alternate, so that the first of them are of all domains.
        """
        piles = [
            balanced([s for s in samples if s.domain == domain], count, seed=0)
            for domain, count in share.items()
        ]
        return tuple(s for part in zip_longest(*piles) for s in part if s is not None)

    def inputs(self, images: Images) -> Inputs:
        """What the file takes."""
        if self.spec.with_preprocessing:
            return images.pixels
        return to_input(images.pixels, self.origin.preprocessing)

    def _load(self, samples: tuple[Sample, ...], purpose: Purpose) -> Images:
        loading = Loading(
            split=self.split,
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
