"""Text from records, made harmless for the format that it goes into."""

import re
import unicodedata

# A cell that begins so is a formula to a spreadsheet; the last four are the same, full width.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_MARKDOWN = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|"}
    | {"<": "&lt;", ">": "&gt;"}
    | dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " ")
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "[": "{[}",  # after \\ it would begin an option, and a star too
    "]": "{]}",
    "*": "{*}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}",
    "\N{LATIN SMALL LETTER AE}": r"\ae{}",
    "\N{LATIN CAPITAL LETTER AE}": r"\AE{}",
    "\N{LATIN SMALL LETTER O WITH STROKE}": r"\o{}",
    "\N{LATIN CAPITAL LETTER O WITH STROKE}": r"\O{}",
    **{character: f"\\{character}" for character in "{}$&#%_"},
}
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`",
    "\N{COMBINING ACUTE ACCENT}": "'",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "\N{COMBINING DIAERESIS}": '"',
    "\N{COMBINING RING ABOVE}": "r",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING CARON}": "v",
    "\N{COMBINING MACRON}": "=",
    "\N{COMBINING DOT ABOVE}": ".",
}


def one_line(text: str) -> str:
    """The text with every run of blanks and line ends as one space."""
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """Text from a record, harmless in Markdown: no markup, no cell border, no line end."""
    return text.translate(_MARKDOWN)


def escape_latex(text: str, longest: int) -> str:
    """Text from a record as plain ASCII that any LaTeX sets: no command, no cell, no line end.

    What ASCII and accents cannot spell is told by its code point, such as [U+732B]. Print has no
    room for more than `longest` characters; the data tables hold every text whole.
    """
    text = one_line(text).replace("?`", "? `").replace("!`", "! `")  # ligatures to LaTeX
    shown = _that_fits(text, longest)
    spelled = "-{}-".join("".join(map(_spelled, part)) for part in shown.split("--"))
    return spelled if shown == text else f"{spelled}..."


def _that_fits(text: str, longest: int) -> str:
    """The beginning of a text that prints as at most `longest` characters."""
    room = longest
    for place, character in enumerate(text):
        room -= len("[U+12345]") if _spelled(character).startswith("{[}U+") else 1
        if room < 0:
            return text[:place]
    return text


def _spelled(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if " " <= character <= "~":
        return character
    apart = unicodedata.normalize("NFD", character)
    if len(apart) == 2 and apart[0].isascii() and apart[1] in _ACCENTS:
        return f"\\{_ACCENTS[apart[1]]}{{{apart[0]}}}"
    return f"{{[}}U+{ord(character):04X}{{]}}"


def spreadsheet_text(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def yaml_string(text: str) -> str:
    """The text as a double-quoted scalar of YAML 1.2, on one line."""
    return f'"{"".join(map(_in_yaml, text))}"'


def _in_yaml(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def file_stem(text: str) -> str:
    """The text as a part of a file's name: letters, digits and .-_ only, at most 60 of them."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:60].strip("-._") or "file"
