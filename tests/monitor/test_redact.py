from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ski_edge.monitor.redact import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rtsp://user:secret@cam.local:554/live", "rtsp://***@cam.local:554/live"),
        ("rtsp://user:p@ss:w@rd@10.0.0.2/live", "rtsp://***@10.0.0.2/live"),
        ("rtsp://user:p%40ss@cam/live", "rtsp://***@cam/live"),
        ("cannot open rtsp://a:b@c/d and http://e:f@g/h", "cannot open rtsp://***@c/d and http://***@g/h"),
        ("http://cam/stream?user=me&password=secret&fps=5", "http://cam/stream?user=***&password=***&fps=5"),
        ("srt://host?passphrase=hunter2", "srt://host?passphrase=***"),
        ("rtsp://cam.local/live", "rtsp://cam.local/live"),
        ("/home/me/video@night.mp4", "/home/me/video@night.mp4"),
    ],
)
def test_credentials_go_and_the_rest_stays(text, expected):
    assert redact(text) == expected


@given(
    st.text(
        st.characters(exclude_characters="/ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0", categories=("L", "N", "P", "S")),
        min_size=4,
    )
)
def test_no_password_survives(password):
    assert f":{password}@" not in redact(f"rtsp://user:{password}@camera.local/live")
