"""Which image plays which role under a protocol, and the manifest that freezes it.

Leave one domain out (Gulrajani and Lopez-Paz 2021): a domain is held out whole. Paper-like: all
domains are trained on, and a fifth of each is held out. The two measure different things, so no
digest, record or table of one is ever one of the other.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dgprune.data.dataset import DataSet, Sample
from dgprune.data.draw import balanced as balanced
from dgprune.data.draw import drawn_by, in_order
from dgprune.errors import DgpruneError
from dgprune.schema import canonical_json, digest, nearest, read_json, seal
from dgprune.store import write_text

Protocol = Literal["leave-one-domain-out", "paper-like"]
Role = Literal["source-val", "target", "test"]
LEAVE_ONE_OUT: Protocol = "leave-one-domain-out"
PAPER_LIKE: Protocol = "paper-like"
PROTOCOLS = (LEAVE_ONE_OUT, PAPER_LIKE)
VALIDATION_SHARE = TEST_SHARE = 0.2


def protocol_of(target: str) -> Protocol:
    """The protocol of a model whose held-out domain is `target`: "" where none is."""
    return LEAVE_ONE_OUT if target else PAPER_LIKE


def setting_of(target: str) -> str:
    """What a person reads of the protocol: the domain that is held out, or that none is."""
    return f"{target} held out" if target else PAPER_LIKE


@dataclass(frozen=True, kw_only=True)
class Split:
    """What is trained on, what selects, and what is held out, which neither may see.

    `held_out` is the whole domain `target`, or where that is "" test images of every domain.
    `root` is the folder that the keys of the samples are files in, None where they are no files.
    """

    data_name: str
    target: str
    seed: int
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    root: Path | None = field(default=None, compare=False)

    @property
    def protocol(self) -> Protocol:
        """The protocol that the images were dealt by."""
        return protocol_of(self.target)

    def measured(self) -> dict[tuple[str, Role], tuple[Sample, ...]]:
        """The images of every accuracy record, by domain and role: of validation and held out."""
        held_out: Role = "target" if self.target else "test"
        parts: dict[tuple[str, Role], list[Sample]] = defaultdict(list)
        for sample in self.validation:
            parts[sample.domain, "source-val"].append(sample)
        for sample in self.held_out:
            parts[sample.domain, held_out].append(sample)
        return {key: tuple(parts[key]) for key in sorted(parts)}

    def manifest(self) -> dict[str, object]:
        """The frozen file list: which sample plays which role."""
        listed: dict[str, object] = {
            "data": self.data_name,
            "protocol": self.protocol,
            "seed": self.seed,
            "train": _keys(self.train),
            "validation": _keys(self.validation),
        }
        if self.target:
            return {**listed, "target": self.target, "target_images": _keys(self.held_out)}
        return {**listed, "test_images": _keys(self.held_out)}

    def digest(self) -> str:
        """Digest of the manifest: records with the same one saw the same images."""
        return digest(self.manifest())

    def file_digests(self) -> dict[str, str]:
        """Digest of the names and sizes in bytes of each part's files."""
        parts = {"train": self.train, "validation": self.validation, "held_out": self.held_out}
        return {
            name: digest([[s.domain, s.key, self._size(s)] for s in samples])
            for name, samples in parts.items()
        }

    def _size(self, sample: Sample) -> int:
        return 0 if self.root is None else (self.root / sample.key).stat().st_size

    def require_intact(self, folder: Path) -> None:
        """Raises DgpruneError where the manifest in `folder`, if any, is not that of this split."""
        path, text = self._frozen(folder)
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise DgpruneError(
                f"{path} was edited after it was written, so it no longer says which images were "
                "held out; restore it, or remove it to have it written again"
            )
        old = folder / f"{self._name()}.json"  # as it was written before it named its files
        if old.is_file() and read_json(old) != self.manifest():
            raise DgpruneError(f"{old} was edited after it was written; restore or remove it")

    def save(self, folder: Path) -> None:
        """Writes the manifest, sealed and with its files' digests, under the name of both."""
        self.require_intact(folder)
        path, text = self._frozen(folder)
        if not path.is_file():
            write_text(path, text)

    def _name(self) -> str:
        return (
            f"split-{self.data_name[:40]}-{(self.target or PAPER_LIKE)[:40]}-{self.digest()[:12]}"
        )

    def _frozen(self, folder: Path) -> tuple[Path, str]:
        """Where the manifest belongs, and its text."""
        files = self.file_digests()
        path = folder / f"{self._name()}-{digest(files)[:6]}.json"
        return path, canonical_json(seal({**self.manifest(), "files": files})) + "\n"


def deal(data: DataSet, protocol: str | None, target: str | None, *, seed: int = 0) -> Split:
    """The split of `data` as a user asks for it; leave-one-domain-out where `protocol` is None.

    Raises DgpruneError where there is no such protocol, or it and `target` do not go together.
    """
    require_protocol(protocol)
    if protocol == PAPER_LIKE:
        if target is not None:
            raise DgpruneError(
                f"--protocol {PAPER_LIKE} trains on all domains and holds none out; "
                f"remove --target {target}"
            )
        return paper_like(data, seed=seed)
    if target is None:
        raise DgpruneError(
            f"--target is missing: name the domain of {data.name} to hold out (it has "
            f"{', '.join(data.domains)}), or pass --protocol {PAPER_LIKE}"
        )
    return leave_one_out(data, target, seed=seed)


def require_protocol(protocol: str | None) -> None:
    """Raises DgpruneError where `protocol` is given and there is none of that name."""
    if protocol is not None and protocol not in PROTOCOLS:
        raise DgpruneError(
            f"--protocol {protocol!r} must be one of {', '.join(PROTOCOLS)}"
            f"{nearest(protocol, PROTOCOLS)}"
        )


def leave_one_out(data: DataSet, target: str, *, seed: int = 0) -> Split:
    """Holds `target` out and cuts every class of every source domain 80 / 20, by seed.

    The cut depends on seed, domain, class and file names only, never on which domain is held out; a
    class with one image in a domain goes to train.
    """
    held_out = data.of_domain(target)
    train: list[Sample] = []
    validation: list[Sample] = []
    for drawn in drawn_by(data, seed):
        if drawn[0][1].domain != target:
            cut = round(VALIDATION_SHARE * len(drawn))
            validation += in_order(drawn[:cut])
            train += in_order(drawn[cut:])
    for domain in data.domains:
        if domain != target:
            _require_any(validation, domain, f"--target {target} keeps 20 %", least="three")
    return Split(
        data_name=data.name,
        target=target,
        seed=seed,
        train=tuple(train),
        validation=tuple(validation),
        held_out=held_out,
        root=data.root,
    )


def paper_like(data: DataSet, *, seed: int = 0) -> Split:
    """Cuts every class of every domain 64 / 16 / 20 into train, validation and test, by seed.

    The test images are of the domains that are trained on. Raises DgpruneError where a domain has
    too few images a class to hold one out.
    """
    train: list[Sample] = []
    validation: list[Sample] = []
    test: list[Sample] = []
    for drawn in drawn_by(data, seed):
        held = round(TEST_SHARE * len(drawn))
        cut = held + round(VALIDATION_SHARE * (len(drawn) - held))
        test += in_order(drawn[:held])
        validation += in_order(drawn[held:cut])
        train += in_order(drawn[cut:])
    for domain in data.domains:
        for part in (test, validation):
            _require_any(part, domain, f"--protocol {PAPER_LIKE} keeps 20 % twice", least="four")
    return Split(
        data_name=data.name,
        target="",
        seed=seed,
        train=tuple(train),
        validation=tuple(validation),
        held_out=tuple(test),
        root=data.root,
    )


def _require_any(samples: Sequence[Sample], domain: str, why: str, *, least: str) -> None:
    if not any(sample.domain == domain for sample in samples):
        raise DgpruneError(
            f"{why} of every class of a source domain apart, and {domain!r} has too few images "
            f"for that; add some ({least} or more a class)"
        )


def _keys(samples: Sequence[Sample]) -> list[list[str]]:
    return [[sample.domain, sample.key] for sample in samples]
