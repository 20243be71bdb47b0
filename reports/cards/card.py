"""A model card: YAML and Markdown of one file, of nothing but what its records tell."""

from collections.abc import Sequence

from dgprune import __version__
from dgprune.records import Subject
from dgprune.schema import canonical_json
from dgprune.structure import cost_of
from reports.cards.front_matter import front_matter
from reports.cards.measured import accuracy, calibration, latency, what_ran
from reports.cards.subject import CardFacts
from reports.cards.text import bullets, heading, md, table_text
from reports.cards.warnings import warnings_of
from reports.latency_details import megabytes
from reports.recipe import dense_of
from reports.render import blocks
from reports.summary import DASH

_LICENSE = (
    "The records name no license. This file was made from the weights and the data named above and "
    "inherits the terms of both: read them before it is used or passed on."
)


def card_text(card: CardFacts) -> str:
    """The card of a file."""
    parts = (
        front_matter(card),
        f"# {md(card.subject.label)}\n",
        f"{_what(card)}\n",
        heading("Intended use and limits", bullets(_use(card))),
        heading("Warnings", bullets(warnings_of(card))),
        heading("Data and protocol", _data(card)),
        heading("How it was made", _made(card.subject)),
        heading("Budget and cost", _cost(card)),
        heading("Accuracy", accuracy(card)),
        heading("Calibration", calibration(card)),
        heading("What ran", what_ran(card)),
        heading("Latency", latency(card)),
        heading("Digests", _digests(card)),
        heading("License", f"{_LICENSE}\n"),
    )
    return "\n".join(parts)


def _what(card: CardFacts) -> str:
    subject, row = card.subject, card.files[0].row
    pruned = f"pruned ({row.criterion}, {row.budget_text})" if row.budget[0] else "not pruned"
    pruned = pruned if row.criterion != "dense" else "not pruned"
    return (
        f"{md(subject.origin.model)} at {subject.origin.preprocessing.image_size} px for "
        f"{md(subject.origin.data_name)}, {md(pruned)}, as {md(subject.format)} in "
        f"{md(subject.precision)}. Written by dgprune {__version__}; every number is computed from "
        "the records named below."
    )


def _use(card: CardFacts) -> list[str]:
    origin = card.subject.origin
    shape = origin.preprocessing
    mean, std = (", ".join(f"{x:g}" for x in three) for three in (shape.mean, shape.std))
    domains = list(dict.fromkeys(seen.record.domain for seen in card.accuracy))
    seen = f"on {', '.join(domains)} of {origin.data_name}" if domains else "nowhere"
    return [
        f"Names the class of an image, one of {len(origin.classes)}: {', '.join(origin.classes)}.",
        f"Input: the whole image resized to {shape.image_size} x {shape.image_size} px "
        f"({shape.interpolation}), three channels scaled to 0 to 1, less the mean ({mean}), over "
        f"the deviation ({std}).",
        f"Accuracy was measured {seen}. What it does on other images, and with images of no such "
        "class, was not measured.",
    ]


def _data(card: CardFacts) -> str:
    origin = card.subject.origin
    others = {domain for file in card.files for domain in file.table.domains} - {origin.target}
    setting = card.files[0].table.setting
    held_out = origin.target or "20 % of the images of every domain"
    chosen = "what was held out" if setting.oracle else setting.validation
    return table_text(
        ("data", "value"),
        (
            ("data set", origin.data_name),
            ("protocol", origin.protocol),
            ("held out, never trained on", held_out),
            ("other domains measured", ", ".join(sorted(others)) or DASH),
            ("weights chosen by", chosen),
            ("seed of the split", str(origin.split_seed)),
        ),
    )


def _made(subject: Subject) -> str:
    """Every stage with its digest, which follows from the one before and what was asked."""
    rows = [(step.stage, step.digest, canonical_json(step.spec)) for step in subject.lineage]
    return table_text(("stage", "digest", "asked"), rows)


def _cost(card: CardFacts) -> str:
    row, table = card.files[0].row, card.files[0].table
    dense = dense_of(row, table)
    files: Sequence[Subject] = (row.subject, *((dense.subject,) if dense else ()))
    costs = [cost_of(subject.structure) for subject in files]
    return table_text(
        ("cost", "this file", *(("dense",) if dense else ())),
        (
            ("budget", row.budget_text or DASH, *((DASH,) if dense else ())),
            ("multiply-accumulates an image", *(f"{c.macs_per_image / 1e6:.1f} M" for c in costs)),
            ("parameters", *(f"{c.parameters / 1e3:.0f} k" for c in costs)),
            ("size of the file, MB", *(megabytes(subject.size_bytes) for subject in files)),
            ("width", *(str(subject.structure.embed_dim) for subject in files)),
            (
                "blocks (heads x head dimension, MLP)",
                *(blocks(subject.structure) for subject in files),
            ),
        ),
    )


def _digests(card: CardFacts) -> str:
    origin = card.subject.origin
    ids = [record for file in card.files for record in file.record_ids]
    return table_text(
        ("of", "digest"),
        (
            ("the file (SHA-256)", card.subject.sha256),
            ("the data", origin.data_digest),
            ("the split", origin.split_digest),
            ("records", " ".join(ids)),
        ),
    )
