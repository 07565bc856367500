"""The paper's tables, our numbers beside them, and the command that prints both."""

from __future__ import annotations

import json

import pytest

from ski_edge.data.splits import ZERO_SHOT
from ski_edge.errors import BadInput
from ski_edge.evaluate.paper import TABLES, OurNumbers, compare_tables, paper_tables, read_ours, render_tables

OURS = {
    "about": "tower of 1.9 M parameters",
    "rows": [
        {"table": "ski-3", "row": "ski-vificlip", "split": "48/12", "mean": 50.04, "ci95": 1.26, "seeds": 3},
        {"table": "ski-3", "row": "clip", "split": "55/5", "mean": 21, "seeds": 1, "note": "a|b"},
        {"table": "ski-3", "row": "clip", "split": "utd 22/5", "mean": 33.3, "ci95": None, "seeds": 1},
    ],
}


def cell(content: dict, table: str, row: str, split: str) -> dict:
    (found,) = [t for t in content["tables"] if t["table"] == table]
    return next(r for r in found["rows"] if r["row"] == row)["top1"][split]


def lines(text: str) -> dict[str, list[str]]:
    """First words of a text table -> the rest, cut where two blanks are."""
    cut = [[part.strip() for part in line.split("  ") if part.strip()] for line in text.splitlines()]
    return {parts[0]: parts[1:] for parts in cut if len(parts) > 2}


def test_what_the_paper_says():
    tables = paper_tables()
    assert tuple(tables) == TABLES
    assert {split for table in tables.values() for split in table.splits} == set(ZERO_SHOT)
    content = compare_tables(TABLES)
    assert cell(content, "ski-2", "ski-vificlip", "110/10") == {"paper": 77.5, "ours": None, "difference": None}
    assert cell(content, "ski-3", "froster", "96/24")["paper"] == 34.0
    assert cell(content, "ski-1", "fusion", "48/12")["paper"] == 17.5


def test_the_paper_agrees_with_itself():
    """The same model on the same split has one number, whatever table it stands in."""
    names = {("ski-4", "online"): "ski-vificlip", ("ski-5", "mse"): "ski-vificlip"}
    numbers: dict[tuple[str, str], set[float]] = {}
    for name, table in paper_tables().items():
        for row in table.rows:
            model = names.get((name, row.row), row.row)
            for split, top1 in zip(table.splits, row.top1, strict=True):
                numbers.setdefault((model, split), set()).add(top1)
    assert numbers["ski-vificlip", "48/12"] == {52.0}
    assert {key: found for key, found in numbers.items() if len(found) > 1} == {}


def test_ours_beside_the_paper():
    content = compare_tables(["ski-3", "ski-2"], OurNumbers.model_validate(OURS))
    assert [table["table"] for table in content["tables"]] == ["ski-3", "ski-2"]
    got = cell(content, "ski-3", "ski-vificlip", "48/12")
    assert got["ours"] == {"mean": 50.04, "ci95": 1.26, "seeds": 3, "note": ""}
    assert got["difference"] == pytest.approx(50.04 - 52.0)
    # other data has a column of its own and is compared with nothing
    assert cell(content, "ski-3", "clip", "utd 22/5")["paper"] is None
    assert cell(content, "ski-3", "clip", "utd 22/5")["difference"] is None
    assert cell(content, "ski-2", "ski-vificlip", "48/12")["ours"] is None  # of another table


def test_text():
    rows = lines(render_tables(["ski-3"], OurNumbers.model_validate(OURS)))
    assert rows["ski-vificlip"] == [
        *("82.2", "not run", "52.0", "50.0 ±1.3 (n=3)", "77.5", "not run", "59.3", "not run", "not run"),
    ]
    assert rows["clip"][1] == "21.0 (n=1)"
    text = render_tables(["ski-3"], OurNumbers.model_validate(OURS))
    assert "utd 22/5 ours" in text
    assert "utd 22/5 paper" not in text
    assert "  ours: tower of 1.9 M parameters" in text
    assert "  clip 55/5: a|b" in text
    assert "not run" not in "".join(line for line in text.splitlines() if line.startswith("  "))


def test_markdown_and_json():
    ours = OurNumbers.model_validate(OURS)
    grid = [line for line in render_tables(TABLES, ours, "markdown").splitlines() if line.startswith("|")]
    columns = [line.replace("\\|", "").count("|") for line in grid]
    assert columns == [6] * 5 + [6] * 9 + [11] * 7 + [6] * 6 + [6] * 5
    assert json.loads(render_tables(["ski-5"], ours, "json")) == compare_tables(["ski-5"], ours)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"table": "ski-6"}, "table 'ski-6' is not one of ski-1"),
        ({"row": "SKI"}, "ski-3 has no row 'SKI'; it has: clip, xclip"),
        ({"mean": 101}, "rows.0.mean"),
        ({"mean": float("nan")}, "rows.0.mean"),
        ({"seeds": 0}, "rows.0.seeds"),
        ({"ci95": -1}, "rows.0.ci95"),
        ({"sed": 3}, "rows.0.sed"),
        ({"row": "clip", "split": "55/5"}, "ski-3 clip 55/5 comes twice"),
    ],
)
def test_our_numbers_are_checked(tmp_path, change, says):
    rows = [OURS["rows"][0] | change, *OURS["rows"][1:]]
    (tmp_path / "ours.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(BadInput, match=says):
        read_ours(tmp_path / "ours.json")


def test_the_command(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("evaluate", "--table", "ski-4")
    assert (code, err) == (0, "our numbers: none; no benchmarks/results/ski/table.json here, and no --ours\n")
    assert lines(out)["offline"] == ["53.3", "not run", "70.8", "not run"]
    file = tmp_path / "benchmarks" / "results" / "ski" / "table.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(OURS))
    code, out, err = cli("evaluate", "--table", "all", "--markdown")  # finds the committed result
    assert code == 0
    assert "our numbers: benchmarks/results/ski/table.json" in err
    assert out.count("**ski-") == 5
    assert "| ski-vificlip | 82.2 | not run | 52.0 | 50.0 ±1.3 (n=3) |" in out
    file.rename(tmp_path / "other.json")
    code, out, err = cli("evaluate", "--table", "ski-3", "--ours", "other.json", "--json")
    content = json.loads(out)
    assert (code, content["ours_from"]) == (0, "other.json")
    assert cell(content, "ski-3", "clip", "55/5")["ours"]["mean"] == 21


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--table", "ski-7"), "table 'ski-7' is not known; the choices are: ski-1"),
        (("--table", "ski-1", "--data", "x"), "leave out the model"),
        (("somewhere", "--table", "ski-1"), "leave out the model"),
        (("--table", "ski-1", "--ours", "nowhere.json"), "nowhere.json cannot be read"),
        (("--ours", "x.json"), "go with --table"),
        ((), "evaluate needs a model"),
        (("somewhere", "--split", "all"), "evaluate needs --data"),
        (("somewhere", "--data", "x"), "evaluate needs --split"),
    ],
)
def test_what_the_command_is_told(fails_clean, arguments, says):
    fails_clean("evaluate", *arguments, says=says)


def test_tables_need_no_torch(without_torch):
    done = without_torch("from ski_edge.cli.main import main\nassert main(['evaluate', '--table', 'all']) == 0")
    assert done.returncode == 0, done.stderr
    assert "tri-modal" in done.stdout
