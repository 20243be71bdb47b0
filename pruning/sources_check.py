"""Whether the sources of a training can do what was asked of them: refused before it begins."""

from collections.abc import Sequence

from dgprune.data import Images, Purpose, Sample
from dgprune.errors import DgpruneError
from pruning.training_spec import COMPARED, TrainSpec


def require_sources(spec: TrainSpec, samples: Sequence[Sample], processes: int) -> None:
    """Raises DgpruneError where an option of `spec` would do nothing on the sources `samples`.

    CORAL is computed within each of the `processes`, so that every one needs two images of two
    domains. Balanced batches say how many there are; of others only the size is known.
    """
    domains = len({sample.domain for sample in samples})
    asked = {"--coral": bool(spec.coral), "--domain-balanced": spec.domain_balanced}
    for option, given in asked.items():
        if given and domains < 2:
            raise DgpruneError(f"{option} does nothing with one source domain; remove it")
    needed = domains + 2 if spec.domain_balanced else COMPARED
    share = spec.batch_size // processes
    if spec.coral and share < needed:
        where = f" in {processes} processes, {share} each" if processes > 1 else ""
        dealt = f", dealt over {domains} domains" if spec.domain_balanced else ""
        raise DgpruneError(
            f"--coral does nothing with --batch-size {spec.batch_size}{where}: two domains with "
            f"two images each{dealt} need {needed}; pass --batch-size {needed * processes} or more"
        )


def require_every_domain(wanted: Sequence[Sample], found: Images, purpose: Purpose) -> None:
    """Raises DgpruneError where a domain of `wanted` has no image in `found`.

    Images that cannot be read, or are copies of held-out ones, may be left out, but a mean over
    domains that silently lacks one is another number.
    """
    lost = {sample.domain for sample in wanted} - {sample.domain for sample in found.samples}
    if lost:
        domain = min(lost)
        count = sum(sample.domain == domain for sample in wanted)
        raise DgpruneError(
            f"--skip-bad-images leaves out all {count} image(s) of domain {domain!r} for "
            f"{purpose.value}, which needs some of every source domain; repair or replace them"
        )
