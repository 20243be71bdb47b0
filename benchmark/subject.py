"""What `CHECKPOINT|ARTEFACT` means: an opened folder, and what a record says of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dgprune.artefact import OpenArtefact, is_artefact, open_artefact
from dgprune.data.preprocessing import Bytes, Floats, to_input
from dgprune.errors import DgpruneError
from dgprune.proof import Proof, require
from dgprune.records import RuntimeSpec, Subject
from dgprune.runtimes import InputForm, Inputs, Runtime
from dgprune.runtimes.opening import form_of, open_runtime

if TYPE_CHECKING:
    from dgprune.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class OpenSubject:
    """A file to measure, and what it takes."""

    subject: Subject
    folder: Path
    file: Path
    form: InputForm
    opened: "OpenArtefact | Checkpoint"

    @contextmanager
    def run(self, spec: RuntimeSpec) -> Iterator[Runtime]:
        """The loaded file, freed at the end."""
        with open_runtime(self.opened, spec) as runtime:
            yield runtime

    def inputs(self, pixels: Bytes) -> Inputs:
        """What the file takes, of pixels [batch, px, px, 3]."""
        if self.form.dtype == "uint8":
            return pixels
        return to_input(pixels, self.subject.origin.preprocessing)

    @property
    def gives_probabilities(self) -> bool:
        """Whether softmax is inside of the file, as its preprocessing is (--with-preprocessing)."""
        return self.form.dtype == "uint8"

    def logits(self, outputs: Floats) -> Floats:
        """Logits [batch, classes] of what the file gave; of probabilities, their logarithms.

        Softmax of those is the probabilities again. One that rounds to 0 counts as the smallest
        number above.
        """
        if not self.gives_probabilities:
            return outputs
        return np.log(np.maximum(outputs, np.finfo(np.float32).tiny), dtype=np.float32)


def proven(runtime: Runtime, subject: OpenSubject, spec: RuntimeSpec, batch_size: int) -> Proof:
    """What the loaded file really executes, for a batch of blank images.

    Raises DgpruneError where that is not what was asked for, unless `spec` allows it.
    """
    size = subject.subject.origin.preprocessing.image_size
    blank = np.zeros((batch_size, size, size, 3), dtype=np.uint8)
    runtime.bind([subject.inputs(blank)])
    what = f"{subject.subject.label} on {spec.name}"
    return require(runtime.proof(), allow_fallback=spec.allow_fallback, what=what)


def open_subject(path: Path) -> OpenSubject:
    """The artefact or checkpoint in folder `path`; raises DgpruneError where it is neither."""
    if is_artefact(path):
        return _artefact(path)
    if (path / "meta.json").is_file():
        return _checkpoint(path)
    raise DgpruneError(f"{path} is neither an artefact (dgprune export) nor a checkpoint folder")


def _artefact(path: Path) -> OpenSubject:
    opened = open_artefact(path)
    sidecar = opened.artefact
    subject = Subject(
        label=sidecar.label,
        sha256=sidecar.sha256,
        size_bytes=sidecar.size_bytes,
        format=sidecar.format,
        precision=sidecar.precision,
        structure=sidecar.structure,
        origin=sidecar.origin,
        lineage=sidecar.lineage,
    )
    return OpenSubject(
        subject=subject,
        folder=path,
        file=opened.file,
        form=form_of(opened),
        opened=opened,
    )


def _checkpoint(path: Path) -> OpenSubject:
    from dgprune.checkpoint import WEIGHTS, open_checkpoint  # torch takes a second to import

    checkpoint = open_checkpoint(path)
    meta = checkpoint.meta
    subject = Subject(
        label=meta.label,
        sha256=meta.weights_sha256,
        size_bytes=(path / WEIGHTS).stat().st_size,
        format="safetensors",
        precision="fp32",
        structure=checkpoint.structure,
        origin=meta.origin,
        lineage=meta.lineage,
    )
    return OpenSubject(
        subject=subject,
        folder=path,
        file=path / WEIGHTS,
        form=form_of(checkpoint),
        opened=checkpoint,
    )
