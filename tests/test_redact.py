from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ski_edge.redact import redact_text, redact_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://user:secret@cam.local:554/live", "rtsp://***@cam.local:554/live"),
        ("rtsp://user:p@ss:w@rd@10.0.0.2/live", "rtsp://***@10.0.0.2/live"),
        ("rtsp://user:pa/ss@cam/live", "rtsp://***@cam/live"),
        ("rtsp://user:p w@cam/live", "rtsp://***@cam/live"),
        ("http://cam/stream?pw=x&auth=y&fps=5", "http://cam/stream?***"),
        ("http://a:b@cam/stream?key=c@d", "http://***@d"),
        ("srt://host?passphrase=hunter2", "srt://host?***"),
        ("rtsp://cam.local/live", "rtsp://cam.local/live"),
        ("/home/me/video@night.mp4", "/home/me/video@night.mp4"),
    ],
)
def test_addresses_lose_credentials_and_query(url, expected):
    assert redact_url(url) == expected


@given(st.text(min_size=6))
def test_no_password_survives(password):
    assume(password not in "rtsp://***@camera.local/live")
    assert password not in redact_url(f"rtsp://user:{password}@camera.local/live")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("source rtsp://bob:hun ter2@h/x cannot be opened", "source rtsp://***@h/x cannot be opened"),
        ("source bob:hunter2@h/x does not exist", "source ***@h/x does not exist"),
        ("source rtsp:/bob:hunter2@h/x does not exist", "source rtsp:/***@h/x does not exist"),
        ("extra argument(s) (rtsp://bob:hunter2@h/x)", "extra argument(s) (rtsp://***@h/x)"),
        ("http://h/x?apikey=A&access_token=B failed", "http://h/x?*** failed"),
        ("out/a b/video@night.mp4: is empty", "out/a b/video@night.mp4: is empty"),
        ("model.onnx has 1000 bytes, the manifest says 2000", "model.onnx has 1000 bytes, the manifest says 2000"),
    ],
)
def test_messages_lose_credentials(text, expected):
    assert redact_text(text) == expected
