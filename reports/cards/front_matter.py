"""The head of a model card: YAML that a model hub reads, of what the records tell."""

import re

from dgprune.lineage import spec_of
from reports.cards.subject import CardFacts
from reports.data.facts import AccuracyFacts
from reports.escaping import one_line, yaml_string

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def front_matter(card: CardFacts) -> str:
    """The head, between two lines of ---; every text is quoted."""
    subject = card.subject
    data = subject.origin.data_name
    tags = ["dgprune", "domain-generalization", "vision-transformer"]
    tags += ["structured-pruning"] if spec_of(subject.lineage, "prune") else []
    tags += [subject.format, subject.precision]
    lines = [
        "license: other",
        'license_name: "inherits-that-of-the-weights-and-data"',
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {yaml_string(one_line(tag))}" for tag in tags),
        *(("datasets:", f"- {yaml_string(data)}") if _HUB_NAME.fullmatch(data) else ()),
        "metrics:",
        "- accuracy",
        *_index(card),
    ]
    return "\n".join(("---", *lines, "---\n"))


def _index(card: CardFacts) -> list[str]:
    """The hub's list of results: an accuracy a domain."""
    if not card.accuracy:
        return []
    return [
        "model-index:",
        f"- name: {yaml_string(one_line(card.subject.label))}",
        "  results:",
        *(line for seen in card.accuracy for line in _result(seen)),
    ]


def _result(seen: AccuracyFacts) -> list[str]:
    record = seen.record
    data = one_line(record.subject.origin.data_name)
    runtime = f"{record.runtime.name}, {record.runtime.provider}"
    return [
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        f"      name: {yaml_string(one_line(f'{data}, {record.domain}'))}",
        f"      type: {yaml_string(data)}",
        f"      split: {yaml_string(record.role)}",
        "    metrics:",
        "    - type: accuracy",
        f"      name: {yaml_string(one_line(f'accuracy on {runtime}'))}",
        f"      value: {record.accuracy!r}",
    ]
