"""LaTeX tables: plain ASCII, nothing of a record is a command, and a real compiler sets them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.beside import files_beside
from reports.escaping import escape_latex
from reports.latex.tabular import latex_text
from reports.material import Material
from reports.section import Section
from tests.fakes.hostile import TEXTS, hostile_entries
from tests.fakes.many_records import many_entries

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed"
)


def latex_files(hostile: bool) -> dict[str, str]:
    entries = hostile_entries(150) if hostile else many_entries(600)
    found = files_beside(Material(entries=tuple(entries)), parquet=False)
    texts = {name: data.decode() for name, data in found.items() if name.endswith(".tex")}
    return {name.removeprefix("tables/"): text for name, text in texts.items()}


def compiled(folder: Path, files: dict[str, str]) -> str:
    """The compiler's log; and the files that it read, in `paper.fls`."""
    for name, text in files.items():
        (folder / name).write_text(text)
    inputs = "\n".join(rf"\input{{{name}}}" for name in files)
    (folder / "paper.tex").write_text(DOCUMENT % inputs)
    command = ["pdflatex", "-recorder", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]
    return (folder / "paper.log").read_text("latin-1")


@needs_latex
@pytest.mark.parametrize("hostile", [False, True])
def test_all_tables_compile(tmp_path: Path, hostile: bool) -> None:
    files = latex_files(hostile)
    assert set(files) == {"files.tex", "over-targets.tex", "paper-layout.tex"}
    log = compiled(tmp_path, files)
    assert "Output written on paper.pdf" in log
    assert "passwd" not in (tmp_path / "paper.fls").read_text()
    assert "Missing character" not in log


@needs_latex
def test_every_printable_sign_compiles_in_caption_head_and_cell(tmp_path: Path) -> None:
    signs = "".join(map(chr, range(32, 0x250)))
    text = f"{signs} -- --- ?` !` 猫"
    section = Section(title=text, text="", header=("a", text[:90]), rows=((text[:90], "x"),) * 50)
    assert "Missing character" not in compiled(tmp_path, {"t.tex": latex_text([section], "t")})


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_of_a_text_is_left_to_latex(text: str) -> None:
    escaped = escape_latex(text, longest=100)
    assert escaped.isascii() and escaped.isprintable()
    assert "\\input" not in escaped
    plain = re.sub(r"\\(?:[a-z]+(?:\{\})?|[{}$&#%_]|[\"'`^~=.cvr]\{.\}|char34)", "", escaped)
    assert "\\" not in plain.replace("{\\char34}", "")
    assert not set("$&#%_^~") & set(plain)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50 % of a_b & c#d $e$ {f}", r"50 \% of a\_b \& c\#d \$e\$ \{f\}"),
        (r"\x^~", r"\textbackslash{}x\textasciicircum{}\textasciitilde{}"),
        ("é Ö ß 猫", r"\'{e} \"{O} \ss{} {[}U+732B{]}"),
        ("[a]*", "{[}a{]}{*}"),
        ("a--b", "a-{}-b"),
        ("a\nb", "a b"),
        ("W" * 30, "W" * 20 + "..."),
    ],
)
def test_signs_by_hand(text: str, escaped: str) -> None:
    assert escape_latex(text, longest=20 if set(text) == {"W"} else 100) == escaped


def test_a_long_table_is_cut_into_floats_with_labels_of_their_own() -> None:
    rows = tuple((str(number),) for number in range(500))
    text = latex_text([Section(title="t", text="how", header=("n",), rows=rows)], "files")
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert labels == [f"tab:files-{number}" for number in range(1, 14)]
    assert text.count("(continued)") == 12 and text.count("how") == 1
    assert all(f"\n{number} \\\\" in text for number in range(500))
    assert text.count("\\clearpage") == 1


def test_the_main_table_has_what_the_page_has() -> None:
    entries = many_entries(1)
    text = files_beside(Material(entries=tuple(entries)), parquet=False)[
        "tables/files.tex"
    ].decode()
    assert r"budget & MACs, M & params, k & unseen art\_painting, \%" in text
    (line,) = (line for line in text.splitlines() if line.startswith("tp-l1-75 "))
    assert r"ratio 75 \%" in line and "78.0 {[}" in line and line.count("4.00x {[}") == 2
