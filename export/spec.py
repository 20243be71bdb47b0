"""What `export` is asked: format, precision, batch, opset and the images that it may look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dgprune.artefact import FORMATS, PRECISIONS, Format, Precision
from dgprune.data.draw import DEALING
from dgprune.errors import DgpruneError, require_between
from dgprune.schema import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSpec:
    """How to export `checkpoint`, and the data whose source images it is checked on.

    `batch` is "dynamic" or a number of images. `calibration_images` source images, dealt evenly
    over domains (`calibrate_on`, all where empty) and classes, feed int8 and the ranges of fp16.
    `largest_batch` ends the range that a TensorRT engine takes; `build` numbers engines that differ
    only in that each was built anew, as its builder is not deterministic. With `with_preprocessing`
    the file takes pixels and gives probabilities.
    """

    checkpoint: str
    data: str
    format: Format = "onnx"
    precision: Precision = "fp32"
    batch: str = "dynamic"
    opset: int = 20
    with_preprocessing: bool = False
    parity_images: int = 256
    calibration_images: int = 256
    calibrate_on: tuple[str, ...] = ()
    largest_batch: int = 128
    build: int = 1
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--format", self.format, FORMATS),
            ("--precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise DgpruneError(f"{option} {value!r} must be one of {', '.join(known)}")
        if self.batch != "dynamic":
            if not (self.batch.isascii() and self.batch.isdigit()):
                raise DgpruneError(
                    f"--batch {self.batch!r} is neither dynamic nor a number of images"
                )
            require_between("--batch", int(self.batch), 1, 4096)
        if not 18 <= self.opset <= 20:
            # From 17 on LayerNormalization is one node, which fp16 relies on.
            raise DgpruneError(f"--opset {self.opset} is outside 18 to 20")
        require_between("--parity-images", self.parity_images, 1, 1e9)
        require_between("--calibration-images", self.calibration_images, 1, 1e9)
        require_between("--largest-batch", self.largest_batch, 1, 4096)
        require_between("--build", self.build, 1, 1000)

    def refuse_idle(self, given: Mapping[str, object]) -> None:
        """Raises DgpruneError where an option that was `given` (not None or empty) does nothing."""
        for option, value in given.items():
            if value in (None, ""):
                continue
            if option in ("--calibration-images", "--calibrate-on") and not self.needs_calibration:
                raise DgpruneError(
                    f"{option} does nothing for {self.format} {self.precision}; remove it"
                )
            if option == "--build" and self.format != "tensorrt":
                raise DgpruneError("--build is for --format tensorrt; remove it")
            if option == "--largest-batch" and not self.has_range:
                raise DgpruneError(f"{option} is for --format tensorrt --batch dynamic; remove it")

    @property
    def has_range(self) -> bool:
        """Whether the file takes a range of batch sizes that is fixed when it is built."""
        return self.format == "tensorrt" and self.batch == "dynamic"

    @property
    def needs_calibration(self) -> bool:
        """Whether images are looked at before the file is written."""
        return self.precision == "int8" or (self.precision == "fp16" and self.format != "openvino")

    def asked(self) -> Json:
        """The spec as the lineage keeps it: what has no effect is left out."""
        asked: dict[str, Any] = {
            "format": self.format,
            "precision": self.precision,
            "batch": self.batch,
            "opset": self.opset,
            "parity_images": self.parity_images,
        }
        if self.with_preprocessing:
            asked["with_preprocessing"] = True
        if self.needs_calibration:
            asked["calibration_images"] = self.calibration_images
            asked["calibrate_on"] = list(self.calibrate_on)
            asked["dealing"] = DEALING
        if self.has_range:
            asked["largest_batch"] = self.largest_batch
        if self.build > 1:
            asked["build"] = self.build
        return asked
