from __future__ import annotations

from pathlib import Path

import pytest

from ski_edge.errors import BadInput, MissingDependency, require
from ski_edge.files import member, new_folder, read_text, write_text


def ours(folder):
    return {path.name for path in folder.iterdir()} == {"marker"}


def test_new_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError, match="half way"), new_folder(tmp_path / "out", ours) as work:  # noqa: PT012
        (work / "marker").write_text("1")
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out", ours) as work:
        (work / "marker").write_text("1")
        assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_failure_keeps_the_old_folder(tmp_path):
    with new_folder(tmp_path / "out", ours) as work:
        (work / "marker").write_text("old")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out", ours) as work:  # noqa: PT012
        (work / "marker").write_text("new")
        raise RuntimeError
    assert (tmp_path / "out" / "marker").read_text() == "old"
    with new_folder(tmp_path / "out", ours) as work:
        (work / "marker").write_text("new")
    assert (tmp_path / "out" / "marker").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match="holds files that are not ours to replace"), new_folder(tmp_path, ours):
        pass
    with pytest.raises(BadInput, match="exists and is not a folder"), new_folder(tmp_path / "mine.txt", ours):
        pass
    with pytest.raises(BadInput, match="cannot write"), new_folder(tmp_path / "mine.txt" / "below", ours):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_current_folder_is_refused_before_work_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="is the current folder"), new_folder(Path("."), ours):
        pass


def test_write_text_leaves_no_half_file(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\ud800")
    assert (tmp_path / "a.txt").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\\b"])
def test_member_stays_inside(tmp_path, name):
    with pytest.raises(BadInput, match="leaves the folder"):
        member(tmp_path, name)


def test_read_text_names_the_problem(tmp_path):
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_text(tmp_path / "no", "label file")


def test_require_names_the_extra():
    with pytest.raises(
        MissingDependency, match=r"drawing needs the package no_such_module.*pip install 'ski-edge\[plot\]'"
    ):
        require("no_such_module", "plot", "drawing")
