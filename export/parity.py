"""Whether what is shipped computes what PyTorch computes, measured on real images."""

from dataclasses import dataclass

import numpy as np
import torch

from dgprune.artefact import DomainParity, Parity, Precision
from dgprune.data import Images
from dgprune.data.preprocessing import Floats
from dgprune.errors import DgpruneError
from dgprune.runtimes import Inputs, Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What a precision may cost.

    `difference` bounds a logit's, times max(1, |logit|); `cosine` that of an image's logits;
    `agreement` the share of equal top-1 classes, `accuracy` how far a domain's may fall, in shares:
    by one image at least, as the images of a small domain know no smaller step.
    """

    cosine: float = -1.0
    difference: float = float("inf")
    agreement: float = 0.0
    accuracy: float = 1.0


# Of logits.
LADDER: dict[Precision, Tolerance] = {
    "fp32": Tolerance(cosine=0.99999, difference=1e-3),
    "fp16": Tolerance(cosine=0.9995, agreement=0.995),
    "bf16": Tolerance(cosine=0.998, agreement=0.99),
    "int8": Tolerance(agreement=0.97, accuracy=0.01),
}
# Of probabilities, which a file with preprocessing inside gives: a cosine says little of them.
PROBABILITY_LADDER: dict[Precision, Tolerance] = {
    "fp32": Tolerance(cosine=0.99999, difference=1e-3),
    "fp16": Tolerance(difference=0.05, agreement=0.995),
    "bf16": Tolerance(difference=0.1, agreement=0.99),
    "int8": Tolerance(agreement=0.97, accuracy=0.01),
}


class ParityError(DgpruneError):
    """The artefact computes something else; `worst` is the image where it shows most."""

    def __init__(self, reason: str, worst: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.worst = worst


def outputs_of(runtime: Runtime, inputs: Inputs, batch_size: int) -> Floats:
    """Outputs [n, classes] of every whole batch of inputs [n, ...]."""
    parts = []
    for start in range(0, len(inputs), batch_size):
        runtime.bind([inputs[start : start + batch_size]])
        runtime.infer(0)
        parts.append(np.array(runtime.output(0)))
    return np.concatenate(parts)


@torch.no_grad()
def reference_outputs(module: torch.nn.Module, inputs: Inputs, batch_size: int) -> Floats:
    """What PyTorch computes in fp32, [n, classes]."""
    starts = range(0, len(inputs), batch_size)
    parts = [module(torch.from_numpy(inputs[start : start + batch_size])) for start in starts]
    outputs: Floats = torch.cat(parts).numpy()
    return outputs


def compare(
    expected: Floats, found: Floats, images: Images, allowed: Tolerance, runtime: str
) -> Parity:
    """Parity of outputs [n, classes] on `images`; raises ParityError where it leaves `allowed`."""
    difference = np.abs(expected - found)
    cosine = _cosine(expected, found)
    agrees = expected.argmax(1) == found.argmax(1)
    parity = Parity(
        images=len(expected),
        max_abs_logit_difference=float(difference.max()),
        min_cosine=float(cosine.min()),
        top1_agreements=int(agrees.sum()),
        domains=_by_domain(expected, found, images),
        runtime=runtime,
    )
    for outputs, of in ((expected, "an output of PyTorch"), (found, "an output")):
        if not np.isfinite(outputs).all():
            worst = int((~np.isfinite(outputs)).any(1).argmax())
            raise ParityError(f"{of} is NaN or Inf", worst)
    _require(parity, difference / np.maximum(1, np.abs(expected)), cosine, agrees, allowed)
    return parity


def _require(
    parity: Parity,
    difference: Floats,
    cosine: Floats,
    agrees: np.ndarray[tuple[int], np.dtype[np.bool_]],
    allowed: Tolerance,
) -> None:
    largest, share = float(difference.max()), float(agrees.mean())
    if largest > allowed.difference:
        worst = int(difference.max(1).argmax())
        told = f"{largest:.2g} x max(1, |logit|), allowed {allowed.difference:g}"
        raise ParityError(f"a logit differs by {told}", worst)
    if parity.min_cosine < allowed.cosine:
        told = f"{parity.min_cosine:.6f}, allowed {allowed.cosine}"
        raise ParityError(f"the cosine of an image's logits is {told}", int(cosine.argmin()))
    worst = int(agrees.argmin())
    if share < allowed.agreement:
        told = f"{share:.2%} of {parity.images} images, needed {allowed.agreement:.1%}"
        raise ParityError(f"the top-1 class is the same on {told}", worst)
    for name, domain in parity.domains.items():
        lost = domain.correct_reference - domain.correct
        if lost > max(1, allowed.accuracy * domain.images):
            told = f"{lost} of {domain.images} images, allowed {allowed.accuracy:.0%}"
            raise ParityError(f"accuracy on {name} falls by {told}", worst)


def _by_domain(expected: Floats, found: Floats, images: Images) -> dict[str, DomainParity]:
    domains = np.array([sample.domain for sample in images.samples[: len(expected)]])
    before, after = expected.argmax(1), found.argmax(1)
    labels = images.labels[: len(expected)]
    parts = {}
    for name in sorted(set(domains)):
        here = domains == name
        parts[str(name)] = DomainParity(
            images=int(here.sum()),
            top1_agreements=int((before == after)[here].sum()),
            correct_reference=int((before == labels)[here].sum()),
            correct=int((after == labels)[here].sum()),
        )
    return parts


def _cosine(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(norms, 1e-12))
