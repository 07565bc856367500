"""Camera addresses without their passwords, for logs, errors, files and pictures."""

from __future__ import annotations

import re


def redact_url(url: str) -> str:
    """One address without credentials: `rtsp://user:pa/ss@cam/live?key=1` -> `rtsp://***@cam/live?***`.

    Everything from `://` to the last `@` goes, since passwords may hold `/`, `@` or blanks unescaped, and so does the
    whole query, since nobody can list all names a key may have. A path that holds an `@` loses its host: better so.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    rest = re.sub(r"^.*@", "***@", rest, flags=re.DOTALL)
    return f"{scheme}://{re.sub(r'[?#].*$', '?***', rest, flags=re.DOTALL)}"


def redact_text(text: str) -> str:
    """A message in which addresses may occur, whole or mistyped: credentials and queries go, up to the last `@`."""
    text = re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*:/+)\S.*@", r"\1***@", text)
    text = re.sub(r"[^\s:/@'\"(]+:(?!/)[^\s@]*@", "***@", text)
    return re.sub(r"\?[^\s'\")]*=[^\s'\")]*", "?***", text)
