"""What of a report's warnings concerns one file."""

from dgprune.judgement import has_limits
from reports.cards.subject import CardFacts
from reports.data.facts import FileFacts
from reports.summary import ONE_SEED, percent


def warnings_of(card: CardFacts) -> list[str]:
    """A line each, over all runtimes that it was measured on."""
    found = [text for file in card.files for text in _of_file(file)]
    for timed in card.latency:
        batch = timed.record.batch_size
        doubts = timed.cell.doubts if timed.cell else []
        found += [f"Speedup on {timed.record.runtime.name}, batch {batch}: {t}." for t in doubts]
        if timed.control is not None and has_limits(timed.control):
            far = max(1 - timed.control.low, timed.control.high - 1)
            found.append(
                f"Noise floor on {timed.record.runtime.name}, batch {batch}: the baseline against "
                f"itself came out within {percent(far)} of 1."
            )
    return list(dict.fromkeys([*found, ONE_SEED]))


def _of_file(file: FileFacts) -> list[str]:
    row, table = file.row, file.table
    where = f"on {table.runtime.name} ({table.runtime.provider})"
    found = table.setting.warnings()
    if not row.is_trained:
        found.append("Never trained on this data, so no claim may rest on it.")
    found += [f"Allowed to fall back: {text}." for text in row.fallbacks]
    unseen = [domain for domain in table.domains if domain not in row.accuracy]
    if unseen:
        found.append(f"Accuracy {where} was not measured on {', '.join(unseen)}.")
    untimed = [str(size) for size in table.batch_sizes if size not in row.speed]
    if untimed and row.criterion != "dense":
        found.append(f"No speedup was measured {where} at batch {', '.join(untimed)}.")
    return found
