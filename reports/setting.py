"""What an accuracy is of: which images were held out, and whether they chose the weights.

Numbers of two settings measure different things: a table or an average holds one setting only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dgprune.lineage import chosen_by_oracle
from dgprune.records import Entry, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """`target` is the domain that was held out, "" under the protocol paper-like.

    With `oracle` the weights were chosen by what was held out.
    """

    target: str
    oracle: bool

    @property
    def section(self) -> str:
        """What its tables are titled by, "" for the plain one; sections are sorted by it."""
        if not self.oracle:
            return "" if self.target else "Paper-like split"
        chooser = "the unseen domain" if self.target else "in-domain test images"
        return f"Under oracle selection ({chooser} chose the epoch)"

    @property
    def held_out(self) -> str:
        """What was held out, for a title."""
        return f"{self.target} held out" if self.target else "20 % of every domain held out"

    @property
    def column(self) -> str:
        """The head of a column of accuracies on what was held out."""
        name = f"unseen {self.target}" if self.target else "in-domain test images"
        if not self.oracle:
            return name
        return f"{self.target or name}, which chose the epoch"

    @property
    def phrase(self) -> str:
        """What was held out, inside a sentence."""
        if self.oracle or not self.target:
            return self.column
        return f"the unseen domain {self.target}"

    @property
    def validation(self) -> str:
        """What the images that select are called."""
        return "source validation" if self.target else "validation"

    @property
    def sources(self) -> str:
        """The head of a column of accuracies on the images that select."""
        return "sources" if self.target else "validation"

    @property
    def kind(self) -> str:
        """What was held out, without its name."""
        return "the unseen domain" if self.target and not self.oracle else self.column

    @property
    def key(self) -> str:
        """The name of that accuracy in a summary."""
        if self.oracle:
            return "oracle_accuracy"
        return "unseen_accuracy" if self.target else "in_domain_test_accuracy"

    def of_domain(self, domain: str) -> str:
        """The head of the column of one domain."""
        if not self.target:
            return f"{domain} (test)"
        marked = "chose the epoch" if self.oracle else "unseen"
        return f"{domain} ({marked})" if domain == self.target else domain

    def warnings(self) -> list[str]:
        """What a reader must know before comparing."""
        found = []
        if not self.target:
            found.append(
                "In-domain test images: every domain was trained on, so nothing here tells how a "
                "file does on a new one."
            )
        if self.oracle:
            found.append(
                "What was held out chose the weights, so its accuracy is too high to compare with "
                "source-val selection, and no claim may rest on it."
            )
        return found


def setting_of(subject: Subject) -> Setting:
    """The setting that every accuracy of `subject` is of."""
    return Setting(target=subject.origin.target, oracle=chosen_by_oracle(subject.lineage))


def by_section(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Records by the section that may show them, the plain one first."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(setting_of(entry.record.subject).section, []).append(entry)
    return dict(sorted(found.items()))


def seed_of(subject: Subject) -> str:
    """The seed of its fine-tuning, all of them where they differ, and a split seed other than 0.

    Of a file that was never fine-tuned, the seed of its first step.
    """
    tuned = [step for step in subject.lineage if step.stage == "finetune"]
    found = [str(step.spec.get("seed", 0)) for step in tuned or subject.lineage[:1]]
    split = subject.origin.split_seed
    return " then ".join(dict.fromkeys(found)) + (f", split {split}" if split else "")
