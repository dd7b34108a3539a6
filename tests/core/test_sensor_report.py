"""The page's part on sensors is written from records alone."""

import json
from pathlib import Path

from avf_core.reproduction import records, sensor_report

RECORD = {
    "format": records.FORMAT,
    "quick": False,
    "entry": {"name": "weather", "minutes": 10.0},
    "minutes": 5.0,
    "preset": "sensor",
    "channels": 2,
    "updates": 321,
    "data": {"splits": {"train": {"steps": 800}, "valid": {"steps": 100}, "test": {"steps": 100}}},
    "standardised": 2.5,
    "verdict": {
        "nats": 1.0,
        "errors": {"1": 0.5, "6": 0.75},
        "coverage": {"0.9": 0.912},
        "baselines": {
            "rows": {
                "VAR(3)": {"nats": 2.0, "errors": {"1": 0.51, "6": 0.7}},
                "independent": {"nats": 0.5, "errors": {"1": 1.0, "6": 1.0}},
            }
        },
        "verdict": "beaten by a baseline",
    },
    "faults": {
        "filter": dict.fromkeys(sensor_report.FAULTS, 0.9),
        "innovations": dict.fromkeys(sensor_report.FAULTS, 0.8),
    },
}


def test_rows_are_in_order_and_in_deviations(tmp_path: Path) -> None:
    """The best in nats comes first, a loss is told, and without records nothing is said."""
    assert sensor_report.section(tmp_path) == ""
    (tmp_path / "sensors").mkdir()
    (tmp_path / "sensors" / "weather.json").write_text(json.dumps(RECORD))
    page = sensor_report.section(tmp_path)
    rows = [line for line in page.splitlines() if line.startswith("| ") and "nats" not in line]
    assert rows[0] == "| independent | -2.000 | 1.000 | 1.000 |"
    assert rows[1] == "| the filter | **-1.500** | 0.500 | 0.750 |"
    assert "beaten by a baseline" in page
    assert "90% 91.2%" in page
    assert ", 5 minutes, 321 updates" in page
    assert "| weather, innovations | 0.80 |" in page
    bare = {**RECORD, "entry": {"name": "ecg", "minutes": 10.0}, "faults": {"left out": "too short"}}
    (tmp_path / "sensors" / "ecg.json").write_text(json.dumps(bare))
    assert "| ecg, the filter" not in sensor_report.section(tmp_path)
