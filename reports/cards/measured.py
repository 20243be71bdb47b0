"""What a card tells of measurements: accuracy, calibration, execution and latency."""

from dgprune.lineage import spec_of
from dgprune.proof import Proof
from reports.cards.subject import CardFacts
from reports.cards.text import bullets, md, table_text
from reports.data.facts import AccuracyFacts, LatencyFacts
from reports.latency_details import milliseconds
from reports.machine import machine_text, runtime_text
from reports.summary import DASH, percent
from reports.times import between

_ROLES = {"source-val": "source, validation images", "test": "in-domain, held-out images"}


def accuracy(card: CardFacts) -> str:
    """A row a domain and runtime; the unseen one is named."""
    rows = [
        (
            seen.record.domain,
            _role(seen, card),
            seen.record.runtime.name,
            f"{seen.record.correct} of {seen.record.images}",
            percent(seen.record.accuracy),
            f"{percent(seen.interval.low)} to {percent(seen.interval.high)}",
            percent(seen.agreement),
        )
        for seen in card.accuracy
    ]
    header = ("domain", "is", "runtime", "right", "accuracy", "95 % (Wilson)", "same as dense")
    return table_text(header, rows)


def _role(seen: AccuracyFacts, card: CardFacts) -> str:
    if seen.record.role != "target":
        return _ROLES[seen.record.role]
    chose = card.files[0].table.setting.oracle
    return "held out, but chose the epoch" if chose else "unseen: never trained on"


def calibration(card: CardFacts) -> str:
    """ECE and NLL as shipped and at the temperature that source validation gave."""
    rows = []
    for seen in card.accuracy:
        plain, scaled = seen.record.reliability, seen.record.scaled
        if plain is not None:
            rows.append(
                (
                    seen.record.domain,
                    f"{plain.ece:.3f}",
                    f"{plain.nll:.3f}",
                    f"{scaled.temperature:.2f}" if scaled else DASH,
                    f"{scaled.ece:.3f}" if scaled else DASH,
                    f"{scaled.nll:.3f}" if scaled else DASH,
                )
            )
    return table_text(("domain", "ECE", "NLL", "temperature", "ECE scaled", "NLL scaled"), rows)


def what_ran(card: CardFacts) -> str:
    """What the runtimes executed, as read back from them, and the parity that was asked for."""
    proofs = [(seen.record.runtime, seen.record.proof) for seen in card.accuracy]
    proofs += [(timed.record.runtime, timed.record.proof) for timed in card.latency]
    told = dict.fromkeys(
        f"{runtime.name} ({runtime.provider}): {_proof_text(proof)}"
        for runtime, proof in proofs
        if proof is not None
    )
    images = (spec_of(card.subject.lineage, "export") or {}).get("parity_images")
    parity = [f"The export had to agree with its checkpoint on {images} images."] if images else []
    return bullets([*told, *parity])


def _proof_text(proof: Proof) -> str:
    layers = ", ".join(f"{n} in {kind}" for kind, n in sorted(proof.precisions.items()))
    nodes = ", ".join(f"{n} on {name}" for name, n in sorted(proof.nodes.items()))
    fallen = "; ".join(proof.fallbacks) or "nothing fell back"
    return (
        f"asked {proof.asked}; matrix products and convolutions: {layers or 'none seen'}; nodes: "
        f"{nodes or 'none seen'}; fused attention blocks: {proof.fused_attention}; {fallen}"
    )


def latency(card: CardFacts) -> str:
    """A row a runtime and batch size, and the machine; of a baseline, beside its first rival."""
    rows = [_timing(timed) for timed in card.latency]
    rows += [_as_baseline(timed) for timed in card.beside.values()]
    records = [timed.record for timed in (*card.latency, *card.beside.values())]
    machines = dict.fromkeys(machine_text(record.environment) for record in records)
    header = ("runtime", "batch", "latency", "dense", "speedup", "95 %", "verdict")
    told = "".join(f"\nMachine: {md(machine)}\n" for machine in machines)
    return table_text(header, rows) + told


def _timing(timed: LatencyFacts) -> tuple[str, ...]:
    record, cell = timed.record, timed.cell
    if cell is None:
        return (runtime_text(record), str(record.batch_size), *(DASH,) * 5)
    return (
        runtime_text(record),
        str(record.batch_size),
        milliseconds(cell.latency_s),
        milliseconds(cell.baseline_latency_s),
        f"{cell.interval.estimate:.2f}x",
        between(cell.interval),
        cell.verdict.value,
    )


def _as_baseline(timed: LatencyFacts) -> tuple[str, ...]:
    record, cell = timed.record, timed.cell
    median_s = cell.baseline_latency_s if cell else None
    return (runtime_text(record), str(record.batch_size), milliseconds(median_s), *(DASH,) * 4)
