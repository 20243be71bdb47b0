"""Tables of texts as LaTeX that compiles: booktabs, plain ASCII, and every sign escaped."""

from collections.abc import Sequence

from reports.escaping import escape_latex
from reports.section import Section

_ROWS = 40  # of one float: a longer one would leave the page
_FLOATS = 8  # LaTeX holds few at a time
# TeX measures nothing over 16383 points, some 1500 wide letters: a caption, a line of a table.
_CAPTION, _LINE, _CELL = 1400, 1200, 100
_HEAD = (
    "% Written by dgprune; made again by `dgprune report`.\n"
    "% \\usepackage{booktabs}, then \\input this file.\n"
)


def latex_text(sections: Sequence[Section], name: str) -> str:
    """A file with a float a section, several where it is long; labels are `tab:NAME-1` and on."""
    parts = [part for section in sections for part in _parts(section)]
    floats = [_float(part, f"tab:{name}-{number}") for number, part in enumerate(parts, 1)]
    pages = [floats[i : i + _FLOATS] for i in range(0, len(floats), _FLOATS)]
    return _HEAD + "\\clearpage\n".join("".join(page) for page in pages)


def _parts(section: Section) -> list[Section]:
    starts = range(0, len(section.rows), _ROWS) or [0]
    return [
        Section(
            title=section.title if start == 0 else f"{section.title} (continued)",
            text=section.text if start == 0 else "",
            header=section.header,
            rows=section.rows[start : start + _ROWS],
        )
        for start in starts
    ]


def _float(section: Section, label: str) -> str:
    caption = ". ".join(text for text in (section.title, section.text) if text)
    return "\n".join(
        (
            "\\begin{table}[tbp]",
            "\\centering\\small",
            f"\\caption{{{escape_latex(caption, _CAPTION)}}}",
            f"\\label{{{label}}}",
            f"\\begin{{tabular}}{{l{'r' * (len(section.header) - 1)}}}",
            "\\toprule",
            _line(section.header),
            "\\midrule",
            *map(_line, section.rows),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}\n",
        )
    )


def _line(cells: Sequence[str]) -> str:
    longest = min(_CELL, _LINE // len(cells))
    return " & ".join(escape_latex(cell, longest) for cell in cells) + " \\\\"
