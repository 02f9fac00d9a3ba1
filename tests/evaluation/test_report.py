"""Tables, JSON and the HTML report hold what was scored; files are whole or not there."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from streamcolor.errors import OutputError
from streamcolor.evaluation.aesthetics import AestheticsMeasure
from streamcolor.evaluation.chroma import ChromaMeasure, ReferenceHis
from streamcolor.evaluation.html import MEANINGS, jpeg, page
from streamcolor.evaluation.perceptual import FidMeasure
from streamcolor.evaluation.plots import Plot, Series, svg, ticks
from streamcolor.evaluation.protocols import evaluate
from streamcolor.evaluation.report import (
    Results,
    check_folder,
    check_place,
    measures_table,
    table,
    to_json,
    worst_words,
    write_strip,
    write_whole,
)
from streamcolor.evaluation.warping import Flicker, WarpError


def copy_grey(film: Path, references: list[str], output: Path) -> None:
    output.write_bytes(film.read_bytes())


@pytest.fixture(scope="module")
def results(clips: Path) -> tuple[Results, dict[str, np.ndarray]]:
    sheets: dict[str, np.ndarray] = {}
    measures = [WarpError(), Flicker()]
    scores = list(evaluate(clips, copy_grey, keep=sheets.__setitem__, measures=measures))
    columns = (*WarpError.columns, *Flicker.columns, "lpips_alex", "fid")
    return Results(
        scores, {"model": "grey"}, columns, {"fid": 12.5, "fid_frames": 9}, {"lpips_alex": "no <file>"}
    ), sheets


def test_more_measures_leave_the_figures_as_they_are(clips: Path, results: tuple[Results, object]) -> None:
    for plain, full in zip(evaluate(clips, copy_grey), results[0].scores, strict=True):
        assert dataclasses.replace(full, measures={}, fps=0) == dataclasses.replace(plain, fps=0)
        assert set(full.measures) == {*WarpError.columns, *Flicker.columns}


def test_the_json_holds_all_of_it(results: tuple[Results, object]) -> None:
    found = json.loads(to_json(results[0]), parse_constant=pytest.fail)
    one, two = (found["clips"][name] for name in ("one", "two"))
    assert one["luma"] == 0 and one["lpips_alex"] is None and "fid" not in one
    assert found["mean"]["fid"] == 12.5 and found["mean"]["fid_frames"] == 9 and found["mean"]["lpips_alex"] is None
    assert found["mean"]["warp"] == pytest.approx((one["warp"] + two["warp"]) / 2)
    assert found["mean"]["psnr"] == pytest.approx((one["psnr"] + two["psnr"]) / 2)
    assert one["psnr_by_distance"]["distance"] == list(range(1, 10))
    assert one["psnr_by_distance"]["psnr"] == one["psnr_frames"][1:]
    assert found["psnr_by_distance"]["clips"] == [2] * 9
    worst = one["worst_frames"][0]
    assert worst["psnr"] == min(one["psnr_frames"][1:]) == one["psnr_frames"][worst["number"]]


def test_the_tables_say_n_a(results: tuple[Results, object]) -> None:
    console = Console(width=160, file=io.StringIO())
    console.print(measures_table(results[0]))
    rows = [[cell.strip() for cell in line.split("│")] for line in console.file.getvalue().splitlines() if "│" in line]
    assert [row[1] for row in rows] == ["one", "two", "mean"]
    assert [row[6:8] for row in rows] == [["n/a", ""], ["n/a", ""], ["n/a", "12.5"]]
    assert [float(row[2]) for row in rows[:2]] == pytest.approx(
        [score.measures["warp"] for score in results[0].scores], abs=0.005
    )
    assert [row[8] for row in rows[:2]] == [worst_words(score) for score in results[0].scores]
    assert table(results[0].scores).row_count == 3


def test_the_digits_of_many_columns_are_not_cut_off(results: tuple[Results, object]) -> None:
    """Only the worst frames may take more lines; the table says how wide it must be at least."""
    columns = (*WarpError.columns, *ReferenceHis.columns, *ChromaMeasure.columns, *AestheticsMeasure.columns)
    scores = [dataclasses.replace(s, measures=dict.fromkeys(columns, 12.345)) for s in results[0].scores]
    many = measures_table(Results(scores, {}, columns))
    needed = Console(width=1000).measure(many).minimum
    console = Console(width=needed, file=io.StringIO())
    console.print(many)
    text = console.file.getvalue()
    assert "…" not in text and all(name in text for name in columns)
    # A row a clip and their mean: five columns with three digits, six with two.
    assert text.count("12.345") == 3 * 5 and len(re.findall(r"12\.3[45]\b", text)) == 3 * 6


class Page(HTMLParser):
    """What a page asks for, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def test_the_page_needs_nothing_from_outside(results: tuple[Results, dict[str, np.ndarray]]) -> None:
    text = page(results[0], {name: jpeg(sheet) for name, sheet in results[1].items()})
    seen = Page()
    seen.feed(text)
    assert seen.open == [] and seen.tags.count("svg") == 3 and seen.tags.count("img") == 2
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    assert all(source.startswith(("#", "data:image/jpeg;base64,")) for source in seen.sources)
    assert "://" not in text and "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert "no &lt;file&gt;." in text
    for drawing in re.findall(r"<svg.*?</svg>", text):
        ET.fromstring(drawing)
    pictures = [base64.b64decode(s.partition(",")[2]) for s in seen.sources if s.startswith("data:")]
    for data, sheet in zip(pictures, results[1].values(), strict=True):
        shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape == sheet.shape
        assert np.abs(shown[..., ::-1].astype(int) - sheet).mean() < 4
    for score in results[0].scores:
        assert f"{score.psnr:.2f}" in text


def test_names_are_text_and_not_markup(results: tuple[Results, object]) -> None:
    score = dataclasses.replace(results[0].scores[0], clip='<b>"x"&')
    text = page(dataclasses.replace(results[0], scores=[score]), {'<b>"x"&': b"picture"})
    assert "<b>" not in text and "&lt;b&gt;&quot;x&quot;&amp;" in text


def test_every_column_is_explained(results: tuple[Results, object]) -> None:
    text = page(results[0], {})
    for name in (*results[0].columns, "psnr", "cdc"):
        assert f"<dt>{name}</dt>" in text
    for measure in (WarpError, Flicker, ReferenceHis, ChromaMeasure, FidMeasure, AestheticsMeasure):
        assert set(measure.columns) < set(MEANINGS)
    assert {f"lpips_{net}" for net in ("alex", "vgg", "squeeze")} < set(MEANINGS)


def test_without_references_there_is_no_distance(clips: Path) -> None:
    scores = list(evaluate(clips, copy_grey, references="none", clips=["one"]))
    text = page(Results(scores, {}), {})
    assert "no distance" in text and text.count("<svg") == 1
    assert json.loads(to_json(Results(scores, {})))["psnr_by_distance"]["distance"] == []


def test_ticks_are_round() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(1, 79, 8) == [10, 20, 30, 40, 50, 60, 70]
    assert ticks(3, 3) == [3]


def test_a_plot_puts_points_where_they_belong() -> None:
    points = [(0.0, 20.0), (5.0, 40.0), (10.0, 30.0)]
    drawing = ET.fromstring(svg(Plot("x", "y", [Series("a & b", points, "main", labelled=True)], [(5, 40, "5")])))
    line = next(e for e in drawing.iter("path") if e.get("class") == "line main")
    places = [tuple(map(float, p.split())) for p in (line.get("d") or "")[1:].split("L")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1) and y0 - y1 == pytest.approx(2 * (y0 - y2), abs=0.2)
    circle = next(drawing.iter("circle"))
    assert (float(circle.get("cx") or 0), float(circle.get("cy") or 0)) == pytest.approx((x1, y1))
    assert svg(Plot("x", "y", [Series("one", [(3.0, 30.0)], "main")]))


def test_files_are_whole_or_not_there(tmp_path: Path, results: tuple[Results, dict[str, np.ndarray]]) -> None:
    sheet = results[1]["one"]
    path = write_strip(tmp_path / "new" / "sheets", "one", sheet)
    shown = cv2.imread(str(path))
    assert shown is not None
    np.testing.assert_array_equal(shown[..., ::-1], sheet)
    write_whole(path, b"again")
    assert path.read_bytes() == b"again" and [p.name for p in path.parent.iterdir()] == ["one.png"]
    # A device is written to, never replaced.
    write_whole(Path(os.devnull), b"gone")
    assert not Path(os.devnull).is_file()
    if Path("/dev/full").exists():
        with pytest.raises(OutputError, match="no space left"):
            write_whole(Path("/dev/full"), b"much")
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "a" / "b"):
        with pytest.raises(OutputError, match="file is not a folder"):
            check_folder(wrong)
    check_folder(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    with pytest.raises(OutputError, match="is a folder"):
        check_place(tmp_path)
    with pytest.raises(OutputError, match="does not exist"):
        check_place(tmp_path / "no" / "r.html")
