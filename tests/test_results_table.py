"""The table in results/README.md is what its reports say."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from scripts import ROOT, load_script


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/results_table.py")


def write_report(folder: Path, run: str, **changes: Any) -> None:
    report = {
        "dataset": "binarized-mnist",
        "binarization": "fixed",
        "split": "test",
        "num_images": 10000,
        "exact": False,
        "nats": {"mean": 1234.5678, "standard_error": 0.2468},
        "updates": 78000,
        "train_seconds": 5400.0,
        "threads": 2,
        "command": f"drawnet train {run}",
    }
    (folder / run).mkdir()
    (folder / run / "report.json").write_text(json.dumps(report | changes))


def cells(tool: ModuleType, folder: Path) -> dict[str, list[str]]:
    """First cell -> the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tool.table(folder).splitlines()[2:]]
    assert {len(row) for row in rows} == {len(tool.COLUMNS)}
    return {row[0]: row[1:] for row in rows}


def test_the_table_in_the_repository_is_that_of_the_reports(tool: ModuleType) -> None:
    text = (ROOT / "results" / "README.md").read_text()
    assert tool.written(text, ROOT / "results") == text, "run `python tools/results_table.py`"


def test_what_was_not_run_is_empty(tool: ModuleType, tmp_path: Path) -> None:
    rows = cells(tool, tmp_path)
    assert len(rows) == len(tool.EXPERIMENTS)
    assert all(rest[1:] == [""] * 7 for rest in rows.values())
    assert rows["MNIST, DRAW"][0] == "80.97 nats"
    assert rows["100 x 100 cluttered MNIST, RAM, 4 glimpses"][0] == "9.41 %"
    assert rows["CIFAR-10"][0] == ""


def test_a_bound_in_all_cells(tool: ModuleType, tmp_path: Path) -> None:
    write_report(tmp_path, "mnist-binarized")
    assert cells(tool, tmp_path)["[MNIST, DRAW](mnist-binarized)"] == [
        "80.97 nats",
        "1,234.57 nats",
        "upper bound, one sample of z, 10,000 test images of binarized-mnist, fixed pixels",
        "0.25",
        "78,000",
        "1.50",
        "2",
        "`drawnet train mnist-binarized`",
    ]


def test_an_error_in_per_cent(tool: ModuleType, tmp_path: Path) -> None:
    error = {"mean": 0.04321, "standard_error": 0.00203}
    data = {"dataset": "cluttered-mnist-100", "binarization": None}
    write_report(tmp_path, "cluttered-100-glimpses-4", error=error, **data)
    name = "[100 x 100 cluttered MNIST, Differentiable RAM, 4 glimpses](cluttered-100-glimpses-4)"
    paper, here, estimator, standard_error, *_ = cells(tool, tmp_path)[name]
    assert (paper, here, standard_error) == ("4.18 %", "4.32 %", "0.20")
    assert estimator == "test error, 10,000 test images of cluttered-mnist-100"


def test_other_data_than_the_papers_is_not_comparable(tool: ModuleType, tmp_path: Path) -> None:
    write_report(tmp_path, "mnist", dataset="mnist", binarization="sampled")
    caveat = {"caveat": "a cross-entropy", "binarization": None, "dataset": "svhn (subset)"}
    write_report(tmp_path, "svhn", **caveat)
    rows = cells(tool, tmp_path)
    assert rows["[MNIST, DRAW](mnist)"][0] == "80.97 nats, not comparable"
    assert rows["[SVHN](svhn)"][0] == "5,060 to 5,220 nats, not comparable"
    assert rows["[SVHN](svhn)"][2].endswith("of svhn (subset); a cross-entropy")


def test_only_the_table_is_touched(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{tool.BEGIN}\nold\n{tool.END}\nafter | 1 |\n")
    tool.main([str(tmp_path)])
    assert path.read_text() == f"before\n{tool.BEGIN}\n\n{tool.table(tmp_path)}\n\n{tool.END}\nafter | 1 |\n"
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("text", ["nothing", "{END} {BEGIN}", "{BEGIN}", "{BEGIN} {END} {BEGIN} {END}"])
def test_without_markers_nothing_is_written(tool: ModuleType, tmp_path: Path, text: str) -> None:
    text = text.format(BEGIN=tool.BEGIN, END=tool.END)
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(ValueError, match="the table stands between"):
        tool.main([str(tmp_path)])
    assert (tmp_path / "README.md").read_text() == text


def test_a_report_that_lacks_something_is_named(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "report.json").write_text('{"split": "test"}')
    with pytest.raises(ValueError, match=r"svhn/report\.json has no 'num_images'"):
        tool.table(tmp_path)
