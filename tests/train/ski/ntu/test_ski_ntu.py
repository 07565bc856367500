from __future__ import annotations

RUN = "ski-vificlip-official-ntu60"


def test_first(train_toy):
    out = train_toy(RUN, 60)
    print((out / "result.json").read_text())
