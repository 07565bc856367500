"""The tables of the SKI paper, with our numbers beside theirs where we have them: `ski-edge evaluate --table ski-1`."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError, model_validator

from ski_edge.contracts import Contract
from ski_edge.errors import BadInput
from ski_edge.files import parse_yaml, read_json, read_text

Form = Literal["text", "markdown", "json"]
TABLES = ("ski-1", "ski-2", "ski-3", "ski-4", "ski-5")
_NOT_RUN = "not run"


class PaperRow(Contract):
    row: str
    what: str  # in words
    top1: tuple[float, ...]  # per cent, one per split


class PaperTable(Contract):
    """A table of the paper."""

    title: str
    paper_table: int | None  # its number in the paper; None where that is not known for sure
    splits: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    @model_validator(mode="after")
    def _every_split_has_a_number(self) -> PaperTable:
        if any(len(row.top1) != len(self.splits) for row in self.rows):
            raise ValueError("every row needs one number per split")
        return self


class OurNumber(Contract):
    """What we measured for one cell of a table."""

    table: str
    row: str
    split: str = Field(min_length=1, max_length=200)  # the paper's, or one of other data: a column of its own
    mean: float = Field(ge=0, le=100)  # top-1, per cent, over the seeds
    ci95: float | None = Field(None, ge=0)  # half the width of the 95 % interval; none with one seed
    seeds: int = Field(ge=1)
    note: str = ""  # what is not as in the paper


class OurNumbers(Contract):
    """The file that `--ours` names."""

    about: str = ""  # data, sizes, machine: printed under every table
    rows: tuple[OurNumber, ...]

    @model_validator(mode="after")
    def _cells_exist_and_come_once(self) -> OurNumbers:
        seen = set()
        for number in self.rows:
            if number.table not in TABLES:
                raise ValueError(f"table {number.table!r} is not one of {', '.join(TABLES)}")
            rows = [row.row for row in paper_tables()[number.table].rows]
            if number.row not in rows:
                raise ValueError(f"{number.table} has no row {number.row!r}; it has: {', '.join(rows)}")
            cell = (number.table, number.row, number.split)
            if cell in seen:
                raise ValueError(f"{' '.join(cell)} comes twice")
            seen.add(cell)
        return self


@functools.cache
def paper_tables() -> dict[str, PaperTable]:
    """The paper's numbers by our names of its tables."""
    text = read_text(Path(__file__).with_name("paper.yaml"), "the paper's tables")
    return {name: PaperTable.model_validate(table) for name, table in parse_yaml(text, "paper.yaml").items()}


def read_ours(path: Path) -> OurNumbers:
    """A JSON file {about, rows: [{table, row, split, mean, ci95, seeds, note}]}."""
    try:
        return OurNumbers.model_validate(read_json(path, "our numbers"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(
            f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error


def compare_tables(names: Sequence[str], ours: OurNumbers | None = None) -> dict[str, object]:
    """Tables as plain values: per row and split the paper's top-1 and ours, either of them null where there is none.

    difference: ours minus the paper's, where the split is the paper's.
    """
    if unknown := [name for name in names if name not in TABLES]:
        raise BadInput(f"table {unknown[0]!r} is not known; the choices are: {', '.join(TABLES)}, all")
    cells = {(n.table, n.row, n.split): n for n in ours.rows} if ours else {}
    tables = []
    for name in dict.fromkeys(names):
        table = paper_tables()[name]
        others = [split for of, _, split in cells if of == name and split not in table.splits]
        splits = list(dict.fromkeys([*table.splits, *others]))
        rows = []
        for row in table.rows:
            theirs = dict(zip(table.splits, row.top1, strict=True))
            numbers = {split: _cell(theirs.get(split), cells.get((name, row.row, split))) for split in splits}
            rows.append({"row": row.row, "what": row.what, "top1": numbers})
        head = {"table": name, "title": table.title, "paper_table": table.paper_table}
        tables.append({**head, "paper_splits": list(table.splits), "splits": splits, "rows": rows})
    return {
        "metric": "top-1, per cent, among the unseen classes",
        "about": ours.about if ours else "",
        "tables": tables,
    }


def render_tables(names: Sequence[str], ours: OurNumbers | None = None, form: Form = "text") -> str:
    """The same as text for a terminal, Markdown or JSON."""
    if form not in get_args(Form):
        raise BadInput(f"tables come as one of {', '.join(get_args(Form))}, got {form!r}")
    content = compare_tables(names, ours)
    if form == "json":
        return json.dumps(content, ensure_ascii=False, indent=2)
    return "\n\n".join(_one(table, content["about"], form) for table in content["tables"])


def _cell(paper: float | None, own: OurNumber | None) -> dict[str, object]:
    ours = own and own.model_dump(include={"mean", "ci95", "seeds", "note"})
    return {"paper": paper, "ours": ours, "difference": own.mean - paper if own and paper is not None else None}


def _one(table: dict, about: str, form: Form) -> str:
    number = table["paper_table"]
    where = f"Table {number}" if number else "its number in the paper was not checked"
    title = f"{table['table']}: {table['title']} ({where}); top-1, %"
    whose = [(split, who) for split in table["splits"] for who in ("paper", "ours")]
    whose = [(split, who) for split, who in whose if who == "ours" or split in table["paper_splits"]]
    header = ["", *(f"{split} {who}" for split, who in whose)]
    lines = [[row["row"], *(_number(row["top1"][split][who]) for split, who in whose)] for row in table["rows"]]
    notes = [f"ours: {about}"] if about else []
    for row in table["rows"]:
        own = {split: cell["ours"] for split, cell in row["top1"].items()}
        notes += [f"{row['row']} {split}: {cell['note']}" for split, cell in own.items() if cell and cell["note"]]
    notes += [f"{row['row']}: {row['what']}" for row in table["rows"]]
    if form == "markdown":
        grid = [header, ["---", *["---:"] * (len(header) - 1)], *lines]
        rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in grid]
        return "\n".join([f"**{title}**", "", *rows, "", *(f"- {note}" for note in notes)])
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in (header, *lines)
    ]
    return "\n".join([title, *rows, *(f"  {note}" for note in notes)])


def _number(value: float | dict | None) -> str:
    """A cell: the paper's number, or ours with its interval and seeds."""
    if value is None:
        return _NOT_RUN
    if isinstance(value, float):
        return f"{value:.1f}"
    width = f" ±{value['ci95']:.1f}" if value["ci95"] is not None else ""
    return f"{value['mean']:.1f}{width} (n={value['seeds']})"
