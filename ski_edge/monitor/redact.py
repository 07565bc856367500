"""Camera addresses without their passwords, for logs, errors, files and pictures."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]*@")
_QUERY = re.compile(r"(?i)\b(?P<key>user(?:name)?|pass(?:word|wd|phrase)?|pwd|token|key|secret)=[^&\s'\"]*")


def redact(text: str) -> str:
    """Replace `user:password@` of any URL, and credentials in its query, by `***`.

    Everything up to the last `@` before the path goes: passwords that hold an unescaped `@` must not leak a half.
    """
    return _QUERY.sub(r"\g<key>=***", _USERINFO.sub(r"\g<scheme>***@", text))
