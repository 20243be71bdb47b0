"""The table `accuracy`: one row an accuracy record."""

from reports.data.columns import (
    Column,
    DataTable,
    count,
    data_table,
    flag,
    number,
    runtime_columns,
    subject_columns,
    text,
)
from reports.data.facts import AccuracyFacts, Facts


def accuracy_table(facts: Facts) -> DataTable:
    """Every accuracy record: one file on one domain."""
    about = "one row an accuracy record: a file on the images of one domain"
    return data_table("accuracy", about, _columns(), facts.accuracy)


def _columns() -> tuple[Column[AccuracyFacts], ...]:
    return (
        text("record_id", "id of the record", lambda f: f.id),
        *subject_columns(lambda f: f.record.subject),
        *runtime_columns(lambda f: f.record.runtime),
        text("domain", "the domain of the images", lambda f: f.record.domain),
        text(
            "role",
            "source-val: validation images of a source; target: the unseen domain; test: in-domain",
            lambda f: f.record.role,
        ),
        flag("is_shown", "false where a newer record took its place", lambda f: f.is_shown),
        count("images", "images seen", lambda f: f.record.images),
        count("correct", "those whose top-1 class is right", lambda f: f.record.correct),
        count("skipped", "images that could not be read", lambda f: f.record.skipped),
        number("accuracy", "correct over images", lambda f: f.record.accuracy),
        number("accuracy_low", "its lower 95 % limit (Wilson)", lambda f: f.interval.low),
        number("accuracy_high", "its upper 95 % limit (Wilson)", lambda f: f.interval.high),
        *_confidence(),
        number(
            "agreement_with_dense",
            "share of images with the prediction of the dense file that it was pruned from",
            lambda f: f.agreement,
        ),
        text("dense_sha256", "that dense file", lambda f: f.dense.sha256 if f.dense else None),
    )


def _confidence() -> tuple[Column[AccuracyFacts], ...]:
    return (
        number("ece", "expected calibration error, 15 bins, as shipped", _plain_ece),
        number("nll_nats", "mean negative log-likelihood, as shipped", _plain_nll),
        number(
            "temperature",
            "fitted on source validation",
            lambda f: f.record.scaled.temperature if f.record.scaled else None,
        ),
        number(
            "ece_scaled",
            "expected calibration error at that temperature",
            lambda f: f.record.scaled.ece if f.record.scaled else None,
        ),
        number(
            "nll_scaled_nats",
            "mean negative log-likelihood at that temperature",
            lambda f: f.record.scaled.nll if f.record.scaled else None,
        ),
    )


def _plain_ece(fact: AccuracyFacts) -> float | None:
    seen = fact.record.reliability
    return seen.ece if seen else None


def _plain_nll(fact: AccuracyFacts) -> float | None:
    seen = fact.record.reliability
    return seen.nll if seen else None
