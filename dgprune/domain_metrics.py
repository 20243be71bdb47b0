"""What domain generalisation is judged by, from the accuracy records of one file or of two."""

from collections.abc import Sequence

from dgprune.errors import DgpruneError
from dgprune.records import AccuracyRecord


def mean_accuracy(records: Sequence[AccuracyRecord]) -> float:
    """Mean over domains, each counting the same however many images it has (DomainBed)."""
    return sum(record.accuracy for record in records) / len(records)


def worst_domain(records: Sequence[AccuracyRecord]) -> AccuracyRecord:
    """The domain with the lowest accuracy (as in Sagawa et al. 2020); the first of equals."""
    return min(records, key=lambda record: record.accuracy)


def source_target_gap(records: Sequence[AccuracyRecord]) -> float | None:
    """Mean source validation accuracy minus the unseen domain's; None where one is missing."""
    sources = [record for record in records if record.role == "source-val"]
    unseen = [record for record in records if record.role == "target"]
    if not sources or len(unseen) != 1:
        return None
    return mean_accuracy(sources) - unseen[0].accuracy


def retention(record: AccuracyRecord, dense: AccuracyRecord) -> float | None:
    """Accuracy as a share of that of `dense` on the same images; None where dense has none."""
    require_same_images(record, dense)
    return record.accuracy / dense.accuracy if dense.correct else None


def agreement(record: AccuracyRecord, dense: AccuracyRecord) -> float | None:
    """Share of images for which two files predict the same class, right or wrong.

    None where a record of schema 1 or 2 did not store its predictions. Raises DgpruneError where
    they did not see the same images.
    """
    require_same_images(record, dense)
    ours, theirs = record.predictions, dense.predictions
    if ours is None or theirs is None:
        return None
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / record.images


def require_same_images(record: AccuracyRecord, other: AccuracyRecord) -> None:
    """Raises DgpruneError where two records did not see the same images in the same order."""
    difference = _difference(record, other)
    if difference:
        raise DgpruneError(
            f"{record.subject.label} and {other.subject.label} did not see the same images of "
            f"{record.domain} ({difference}); evaluate both on the same --data"
        )


def _difference(record: AccuracyRecord, other: AccuracyRecord) -> str | None:
    """What says that the images differ; a record of schema 1 or 2 has no digest of them."""
    if (record.domain, record.role) != (other.domain, other.role):
        return f"{record.domain}, {record.role} against {other.domain}, {other.role}"
    if record.images != other.images:
        return f"{record.images} against {other.images}"
    if record.images_sha256 and other.images_sha256:
        return None if record.images_sha256 == other.images_sha256 else "other files"
    ours, theirs = record.subject.origin, other.subject.origin
    if (ours.data_digest, ours.split_digest) != (theirs.data_digest, theirs.split_digest):
        return "other data or split"
    if list(map(sum, record.confusion)) != list(map(sum, other.confusion)):
        return "other classes"
    return "which were skipped is not known" if record.skipped or other.skipped else None
