"""Files that are either whole or not there: atomic writes, hashes, names that stay inside their folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ski_edge.errors import BadInput


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def member(folder: Path, name: str) -> Path:
    """A file directly named by a manifest: relative, inside `folder`, not a link."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or not 0 < len(name) <= 200:
        raise BadInput(f"{folder}: file name {name!r} leaves the folder; names must be relative and without '..'")
    path = folder / pure
    if path.is_symlink():
        raise BadInput(f"{path} is a symbolic link; a bundle holds plain files only")
    if not path.is_file():
        raise BadInput(f"{path} is missing; copy the whole folder again")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a crash leaves the old one or the new one, never half of either."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    """`write_text` of indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: Path, what: str) -> str:
    """Read a UTF-8 text file; any other encoding is named, not guessed."""
    if path.is_dir():
        raise BadInput(f"{path} is a directory; {what} must be a file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{what} {path} cannot be read: {error.strerror}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{what} {path} is UTF-16, expected UTF-8; save it again as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{what} {path} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start}); save it as UTF-8"
        ) from error


@contextlib.contextmanager
def new_folder(target: Path, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    ours: whether an existing folder was written by us and holds nothing else; any other is never replaced.
    """
    check_replaceable(target, ours)
    target = Path(target).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    except OSError as error:
        raise BadInput(f"cannot write {target}: {error.strerror or error}; choose another output folder") from error
    try:
        yield work
        for path in work.rglob("*"):
            if path.is_file():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        os.chmod(work, 0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
            os.replace(target, old / target.name)
            try:
                os.replace(work, target)
            except OSError:
                os.replace(old / target.name, target)
                raise
            finally:
                shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_replaceable(target: Path, ours: Callable[[Path], bool]) -> None:
    """Refuse an output folder that holds somebody's files; called before long work as well as at its end."""
    if target.resolve() == Path.cwd():
        raise BadInput(f"{target} is the current folder, which cannot be replaced; choose another output folder")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise BadInput(f"{target} exists and is not a folder; choose another output folder")
    if target.exists() and any(target.iterdir()) and not ours(target):
        raise BadInput(f"{target} holds files that are not ours to replace; choose another output folder")


def read_json(path: Path, what: str) -> object:
    """Read a JSON file; whatever is wrong with it is one line."""
    text = read_text(path, what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{what} {path} is not JSON (line {error.lineno}: {error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise BadInput(f"{what} {path} is not usable JSON: {error}") from error


def parse_yaml(text: str, what: str) -> object:
    """YAML of plain values. Aliases are refused: a page of them can unfold to more than any memory."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: object, index: object) -> object:
            if self.check_event(yaml.events.AliasEvent):
                raise BadInput(f"{what}: aliases (*name) are not allowed; write the value out")
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = f" line {error.problem_mark.line + 1}" if getattr(error, "problem_mark", None) else ""
        raise BadInput(f"{what} is not YAML{line}: {getattr(error, 'problem', None) or error}") from error
