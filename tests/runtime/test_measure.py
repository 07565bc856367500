from __future__ import annotations

import json

import pytest

from ski_edge.runtime.measure import latency, measure, peak_rss_mb


def test_latency_statistics():
    stats = latency([0.001 * i for i in range(1, 101)])
    assert stats.count == 100
    assert stats.p50_ms == pytest.approx(50.5)
    assert stats.p95_ms == pytest.approx(95.05)
    assert (stats.min_ms, stats.max_ms) == (pytest.approx(1), pytest.approx(100))


def test_record_is_complete_and_consistent(tiny_bundle):
    record = measure(tiny_bundle, duration_s=0.2, warmup=1)
    json.dumps(record)
    stages = record["stages"]
    assert set(stages) == {"preprocess", "encode", "update", "reencode_window"}
    assert record["reencode_over_update"] == pytest.approx(
        stages["reencode_window"]["p50_ms"] / stages["update"]["p50_ms"]
    )
    assert record["updates_per_second"] == pytest.approx(1000 / stages["update"]["p50_ms"])
    assert stages["reencode_window"]["count"] >= 3
    assert all(s["min_ms"] <= s["p50_ms"] <= s["p95_ms"] <= s["max_ms"] for s in stages.values())
    assert record["parity"]["passed"]
    assert record["peak_rss_mb"] <= peak_rss_mb()


def test_command_writes_json_and_picture(cli, tiny_bundle, tmp_path):
    code, out, _ = cli("benchmark", "-m", tiny_bundle, "--duration", "100ms", "--out", tmp_path / "o")
    assert code == 0
    assert "stream update (preprocess, encode, score)" in out
    assert "GMACs" in out
    assert json.loads((tmp_path / "o" / "benchmark.json").read_text())["model"] == "ski-vificlip"
    assert (tmp_path / "o" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
