"""Texts that a record may hold, and that must do nothing wherever a report puts them."""

from dgprune.records import Entry
from tests.fakes.many_records import CLASSES, DOMAINS, many_entries

SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://x")'
LATEX = r"\input{/etc/passwd}"
TEXTS = (
    SCRIPT,
    FORMULA,
    LATEX,
    "two\nlines\r\nand\x85three\u2028",
    "a \"quoted\", 'cell' | with * and `marks`",
    "+1-1@SUM(A1)",
    "W" * 600,
    "Übergröße čaño 猫 🙂 \u202e",
    "[0pt] $x$ #1 % & _ ^ ~ {} ?` -- --- \\\\",
    "../../etc/passwd",
    "\x00\x07\x1b[31m\x7f",
    "---\nlicense: mit\n---",
    "![x](http://x) [y](javascript:alert(1))",
)


def hostile_entries(records: int = 1) -> list[Entry]:
    """At least `records` records whose labels, domains and classes are these texts."""
    labels = [f"tp-{criterion}-{r}" for criterion in ("hessian", "l1") for r in ("50", "75", "95")]
    texts = iter(TEXTS)
    rename = {name: next(texts) for name in (*labels, *DOMAINS, "dense")}
    rename |= dict(zip(CLASSES, TEXTS, strict=False))
    return many_entries(records, rename=rename)
