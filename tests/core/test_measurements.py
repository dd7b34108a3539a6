"""Records of measurements: a file that is none is refused by its name, by whatever reads it."""

import json
from pathlib import Path

import pytest

from avf_core.errors import TrainingError
from avf_core.reproduction import report
from avf_core.reproduction.calibration import CALIBRATION
from avf_core.reproduction.measurements import Kind
from avf_core.reproduction.pairs import PAIRS
from avf_core.reproduction.sensor_report import SENSORS
from avf_core.reproduction.trade import TRADE

KINDS = (PAIRS, CALIBRATION, TRADE, SENSORS)
SHIPPED = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
@pytest.mark.parametrize(
    ("text", "wrong"),
    [("", "damaged"), ("{", "damaged"), ("[]", "holds list"), ("{}", "lacks "), ("\xff", "damaged")],
)
def test_a_file_that_is_no_record_is_refused_by_name(tmp_path: Path, kind: Kind, text: str, wrong: str) -> None:
    """What is wrong and which command writes it again are told; the page is not written from the rest."""
    path = tmp_path / "results" / kind.folder / "spoilt.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TrainingError) as caught:
        report.page(tmp_path / "results")
    said = str(caught.value)
    assert str(path) in said
    assert wrong in said
    assert kind.command in said


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.folder)
def test_what_a_record_lacks_is_named(tmp_path: Path, kind: Kind) -> None:
    """Of a record without one of its parts, that part."""
    whole = next(iter((SHIPPED / kind.folder).glob("*.json")))
    record = json.loads(whole.read_text())
    lost = kind.keys[-1]
    path = tmp_path / whole.name
    kind.write(path, {key: value for key, value in record.items() if key != lost})
    with pytest.raises(TrainingError, match=f"it lacks {lost};"):
        kind.read(path)
    kind.write(path, record)
    assert kind.read(path) == record


def test_textbooks_that_are_damaged_are_refused_by_name(tmp_path: Path) -> None:
    """Their file is no record of a folder, and is read with the same care."""
    (tmp_path / "textbooks.json").write_text('{"row": []}')
    with pytest.raises(TrainingError, match=r"textbooks\.json is no record: it lacks rows; .*benchmarks\.codecs"):
        report.page(tmp_path)
