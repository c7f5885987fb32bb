"""A table for readers, and its form in Markdown, LaTeX and the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import rich.table
from rich import box
from rich.console import Console
from rich.text import Text

TERMINAL_WIDTH = 110
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "²": r"$^2$",
    "³": r"$^3$",
    "μ": r"$\mu$",
    "Å": r"\AA{}",
    "–": "--",
}
_MARKDOWN = str.maketrans({char: "\\" + char for char in "\\`*_{}[]<>#|"} | {"\n": " "})


@dataclass(frozen=True)
class Row:
    """Cells of a table row; `bold` are the numbers of the columns to stress."""

    cells: tuple[str, ...]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes
    ----------
    key : str
        Name for links and labels, e.g. ``k_vrh``.
    title : str
        What it shows.
    header : tuple of str
        Column names with units.
    groups : tuple of (str, tuple of Row)
        Rows under a group name; an empty name is not printed.
    caption : str
        What n, spread and interval are, and what is missing.
    text_columns : int
        How many columns from the left hold words (the others are set right).
    """

    key: str
    title: str
    header: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    caption: str
    text_columns: int

    def __post_init__(self) -> None:
        assert all(len(row.cells) == len(self.header) for _, rows in self.groups for row in rows)


def escape_latex(text: str) -> str:
    """Text with every character that LaTeX reads as a command made printable."""
    return "".join(_LATEX.get(char, char) for char in text)


def escape_markdown(text: str) -> str:
    """Text with Markdown's special characters made printable."""
    return text.translate(_MARKDOWN)


def to_markdown(table: Table) -> str:
    """GitHub-flavoured Markdown: heading, table, caption."""
    rule = ["---"] * table.text_columns + ["---:"] * (len(table.header) - table.text_columns)
    lines = [f"## {escape_markdown(table.title)}", "", _pipe(map(escape_markdown, table.header)), _pipe(rule)]
    for name, rows in table.groups:
        if name:
            lines.append(_pipe([f"*{escape_markdown(name)}*"] + [""] * (len(table.header) - 1)))
        for row in rows:
            cells = [escape_markdown(cell) for cell in row.cells]
            lines.append(_pipe(f"**{cell}**" if k in row.bold else cell for k, cell in enumerate(cells)))
    return "\n".join([*lines, "", escape_markdown(table.caption), ""])


def _pipe(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def to_latex(table: Table) -> str:
    """LaTeX table* with booktabs rules (package booktabs)."""
    columns = "l" * table.text_columns + "r" * (len(table.header) - table.text_columns)
    lines = [
        r"\begin{table*}",
        r"\centering\footnotesize",
        rf"\caption{{{escape_latex(table.title)}. {escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.key}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape_latex, table.header)) + r" \\",
    ]
    for name, rows in table.groups:
        lines.append(r"\midrule")
        if name:
            lines.append(rf"\multicolumn{{{len(table.header)}}}{{l}}{{\textit{{{escape_latex(name)}}}}} \\")
        for row in rows:
            cells = [escape_latex(cell) for cell in row.cells]
            lines.append(
                " & ".join(rf"\textbf{{{cell}}}" if k in row.bold else cell for k, cell in enumerate(cells)) + r" \\"
            )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table*}", ""])


def to_terminal(table: Table) -> str:
    """Plain text of at most `TERMINAL_WIDTH` columns, without colours."""
    shown = rich.table.Table(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for k, name in enumerate(table.header):
        shown.add_column(Text(name), justify="left" if k < table.text_columns else "right")
    for number, (_, rows) in enumerate(table.groups):
        if number:
            shown.add_section()
        for row in rows:
            shown.add_row(*(Text(f"* {cell}" if k in row.bold else cell) for k, cell in enumerate(row.cells)))
    console = Console(file=io.StringIO(), width=TERMINAL_WIDTH, color_system=None, highlight=False)
    console.print(shown)
    console.print(Text(table.caption))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"
