"""A comparison trains, scores, resumes and reports; its statistics are those of an independent computation."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from streamcolor.colorizers.registry import find
from streamcolor.commands import main
from streamcolor.errors import CallError, StreamcolorError
from streamcolor.train.budget import step_seconds
from streamcolor.train.comparison import Places, compare
from streamcolor.train.directions import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNMEASURED,
    bootstrap,
    difference,
    failing,
    findings,
    recommended,
)
from streamcolor.train.entries import Entry
from streamcolor.train.grid import MOST_BYTES, write_grid
from streamcolor.train.recipes import FAMILIES
from streamcolor.train.rows import Direction, chosen_rows, read_comparison

CONFIG = """
size: 32
seconds: 0.2
data: {stills: 16, held_stills: 4, targets: 4, held_clips: 2, distances: [1, 8, 128]}
rows:
  truth: {model: truth, shown: true}
  grey: {model: grey}
  unet-basic: {model: unet-basic, settings: {batch: 2}, shown: true}
  bad: {model: resnet-cnn, settings: {batch: 2, width: 8}, start: {resnet18: unet-basic}}
  worse: {model: resnet-cnn, settings: {batch: 2, width: 8}, steps_of: bad}
  stable:cheat:
    model: stable-colorizer
    settings: {batch: 2, reference: cheat, allow-random-encoder: true}
    steps_of: unet-basic
directions:
  - {claim: grey is paler, source: nobody, figure: colorfulness, more: truth, less: grey, comment: as it must}
  - {claim: far is worse, source: nobody, set: film-128, more: truth, less: grey}
"""


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = (np.random.default_rng(seed).random((4, 5, 3)) * 255).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for number in range(20):
        cv2.imwrite(str(folder / f"still-{number}.png"), picture(number))
    for number in range(10):
        with av.open(str(folder / f"clip-{number}.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            wide = picture(100 + number, width=80)
            for shift in range(10):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, shift : shift + 64]), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode())
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "compare.yaml"
    path.write_text(CONFIG)
    return path


def run(words: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


@pytest.mark.filterwarnings("default")
def test_it_trains_scores_reports_and_survives_a_bad_row(
    data: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "--config", str(config), "--data", str(data), "--output", str(tmp_path / "out")]
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "2 of 6 rows failed: bad (" in said and "worse (it needs bad, which failed)" in said

    with (tmp_path / "out" / "results.csv").open() as file:
        lines = {(line["row"], line["set"]): line for line in csv.DictReader(file)}
    assert {row for row, _ in lines} == {"truth", "grey", "unet-basic", "stable:cheat"}
    assert {where for row, where in lines if row == "grey"} == {"related", "independent", "film", "film-1", "film-8"}
    assert float(lines["truth", "related"]["psnr"]) > 78 and float(lines["truth", "film-8"]["his_truth"]) == 1
    assert (
        float(lines["grey", "related"]["colorfulness"]) < 1 and float(lines["grey", "related"]["psnr_over_grey"]) == 0
    )
    trained = lines["unet-basic", "related"]
    assert trained["parameters"] == trained["trained_parameters"] == "177132"
    assert (trained["n"], trained["seed"], trained["size"]) == ("4", "0", "32") and int(trained["steps"]) > 0
    assert lines["stable:cheat", "film"]["steps"] == trained["steps"]
    assert "autoencoder: none" in lines["stable:cheat", "film"]["pretrained"]
    assert float(lines["unet-basic", "own"]["mse"]) > 0
    assert lines["grey", "film"]["cdc"] != "" and lines["grey", "film"]["cdc_truth"] == lines["truth", "film"]["cdc"]

    report = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "No clip reaches 128 frames." in report and "![" in report and "(RESULTS.png)" in report
    assert any("grey is paler" in line and f"| {HOLDS} |" in line for line in report.splitlines())
    assert "| grey is paler | nobody | 1 |  |  |  | as it must |" in report
    assert any("far is worse" in line and f"| {UNMEASURED} |" in line for line in report.splitlines())
    assert (tmp_path / "out" / "RESULTS.png").stat().st_size < MOST_BYTES

    held = {path.name for path in (tmp_path / "out" / "data" / "held" / "stills").iterdir()}
    seen = {path.name for path in (tmp_path / "out" / "data" / "train" / "stills").iterdir()}
    assert len(held) == 4 and len(seen) == 16 and not held & seen
    held = {path.name for path in (tmp_path / "out" / "data" / "held" / "clips").iterdir()}
    seen = {path.name for path in (tmp_path / "out" / "data" / "train" / "clips").iterdir()}
    assert len(held) == 2 and len(seen) == 8 and not held & seen

    weights = tmp_path / "out" / "rows" / "unet-basic" / "run" / "average.safetensors"
    before = weights.stat().st_mtime_ns
    assert run([*words, "--only", "unet-basic", "-q"]) == 0
    assert weights.stat().st_mtime_ns == before, "what is done is not done again"
    assert (tmp_path / "out" / "RESULTS.md").read_text() == report
    assert run([*words, "--only", "unet-basic", "--minutes", "9"]) == 1
    assert "was made with other settings" in capsys.readouterr().err
    assert run([*words, "--only", "unet-basic", "--size", "64"]) == 3
    assert "name another --output" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_an_interrupted_row_goes_on(data: Path, config: Path, tmp_path: Path) -> None:
    comparison, places = read_comparison(config), Places(data, tmp_path / "out")
    folder = places.row("unet-basic")
    folder.mkdir(parents=True)
    known = {"identity": comparison.identity("unet-basic"), "steps": 104, "step_seconds": 0.01, "trained": False}
    (folder / "row.json").write_text(json.dumps(known))
    steps = list[int]()

    def stop(step: int, _: dict[str, float]) -> None:
        steps.append(step)
        if step == 102:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(comparison, places, only=["unet-basic"], on_step=stop)
    assert not (folder / "scores.json").exists()
    again = list[int]()
    compare(comparison, places, only=["unet-basic"], on_step=lambda step, _: again.append(step))
    assert steps == list(range(1, 103)) and again == [101, 102, 103, 104]
    scores = (folder / "scores.json").read_text()
    (folder / "scores.json").unlink()
    compare(comparison, places, only=["unet-basic"], on_step=lambda *_: pytest.fail("it is trained"))
    wanted = [json.loads(text)["entry"]["sets"]["film-8"] for text in (scores, (folder / "scores.json").read_text())]
    assert wanted[0] == wanted[1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seconds: 0.2", "secnods: 0.2", "unknown key secnods: did you mean 'seconds'"),
        ("model: unet-basic, set", "model: unet-basik, set", "row unet-basic: no model 'unet-basik'"),
        ("{batch: 2}, shown", "{bach: 2}, shown", "row unet-basic: unet-basic has no hyper-parameter 'bach'"),
        ("batch: 2}, shown", "batch: two}, shown", "does not fit unet-basic"),
        ("steps_of: bad", "steps_of: badd", "row worse: no earlier row 'badd': did you mean 'bad'"),
        ("steps_of: bad", "stepsof: bad", "unknown key rows.worse.stepsof: did you mean 'steps_of'"),
        ("steps_of: bad", "steps_of: grey", "row worse: grey is not trained"),
        ("{model: grey}", "{model: grey, settings: {}}", "row grey trains nothing"),
        ("{model: grey}", "{model: flow, start: {pretrain: truth}}", "row grey: truth is not trained"),
        ("size: 32", "size: 33", "take a multiple of 32"),
        ("more: truth", "more: trut", "no row 'trut'"),
        ("targets: 4", "targets: 0", "data.targets"),
        ("rows:", "rows: [", "is not YAML"),
    ],
)
def test_a_bad_configuration_is_refused_before_anything_is_done(
    config: Path, old: str, new: str, says: str, tmp_path: Path
) -> None:
    config.write_text(CONFIG.replace(old, new, 1))
    with pytest.raises(CallError, match=says):
        read_comparison(config)
    assert run(["compare", "--config", str(config), "--data", str(tmp_path), "--output", str(tmp_path / "o")]) == 2


def test_bad_places_are_named(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--config", str(config), "--output", str(tmp_path / "o"), "--data"]
    assert run([*words, str(tmp_path / "none")]) == 3
    assert run([*words, str(tmp_path)]) == 3
    assert "fewer than three stills" in capsys.readouterr().err
    assert run([*words, str(tmp_path), "--only", "unet-basics"]) == 2
    assert "did you mean 'unet-basic'" in capsys.readouterr().err


def test_a_row_brings_what_it_needs(config: Path) -> None:
    assert chosen_rows(read_comparison(config), ["worse"]) == ["unet-basic", "bad", "worse"]


def test_the_committed_configuration_holds() -> None:
    from importlib import resources

    comparison = read_comparison(Path(str(resources.files("streamcolor.configs"))) / "compare.yaml")
    assert {"grey", "flow", "welsh", "propagator"} < set(comparison.rows)
    trained = {row.model for row in comparison.rows.values() if row.trained}
    assert trained == {model for model in FAMILIES if find(model).paper != "streamcolor"}
    names = [direction.source for direction in comparison.directions]
    assert all(any(word in name for name in names) for word in ("Bansal", "Gao", "Xu", "Efthymiadis", "Yin", "11.3"))


def test_the_time_of_a_step_is_the_median_over_all_stages() -> None:
    clock = iter([0, 9, 10, 11, 12, 100, 102, 104, 106, 120])

    def train(on_step: object) -> None:
        for step in (1, 2, 3, 4, 5, 1, 2, 3, 4, 5):
            on_step(step, {})  # type: ignore[operator]

    assert step_seconds(train, lambda: float(next(clock))) == 1 + 2


def test_the_bootstrap_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).gamma(2, 1, 40) - 1.5
    ours = bootstrap(values)
    theirs = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.mean == pytest.approx(values.mean()) and ours.n == 40
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=width / 20)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=width / 20)
    assert bootstrap(values) == ours, "the same again"
    drawn = np.random.default_rng(0).integers(40, size=(1000, 40))
    means = sorted(sum(values[i] for i in resample) / 40 for resample in drawn)
    # numpy's linear interpolation between order statistics.
    assert ours.low == pytest.approx(means[24] + 0.975 * (means[25] - means[24]))
    assert ours.high == pytest.approx(means[974] + 0.025 * (means[975] - means[974]))


def test_differences_are_taken_in_pairs() -> None:
    one, other = {"a": 1.0, "b": 5.0, "c": 9.0}, {"b": 4.0, "c": 8.0, "d": 0.0}
    found = difference(one, other)
    assert found is not None and (found.mean, found.low, found.high, found.n) == (1, 1, 1, 2)
    assert difference({"a": 1.0}, {"a": 0.0}) is None


def entry(row: str, **sets: dict[str, list[float]]) -> Entry:
    figures = {
        where: {
            f"{n}": {name: values[n] for name, values in given.items()} for n in range(len(next(iter(given.values()))))
        }
        for where, given in sets.items()
    }
    return Entry(row, row, trained_parameters=1, sets=figures)


def test_directions_hold_or_not() -> None:
    entries = {
        "high": entry("high", related={"psnr": [3.0, 4.0, 5.0]}, independent={"psnr": [1.0, 2.0, 3.0]}),
        "low": entry("low", related={"psnr": [1.0, 2.5, 3.0]}, independent={"psnr": [0.5, 2.0, 2.5]}),
        "same": entry("same", related={"psnr": [4.0, 4.0, 4.0]}),
    }

    def found(**given: object) -> list[str]:
        return [one.verdict for one in findings([Direction(claim="", source="", **given)], entries)]  # type: ignore[arg-type]

    assert found(more=("high",), less=("low",)) == [HOLDS]
    assert found(more=("low",), less=("high",)) == [FAILS]
    assert found(more=("high",), less=("same", "low")) == [UNDECIDED, HOLDS]
    assert found(more=("high@independent",), less=("high@related",)) == [FAILS]
    # The one loses 2 everywhere, the other 0.5.
    assert found(more=("high",), less=("low",), minus="independent") == [HOLDS]
    assert found(more=("high",), less=("none",)) == [UNMEASURED]
    assert found(more=("high",), less=("low",), figure="lpips") == [UNMEASURED]
    assert found(more=("high",), less=("same",), set="independent") == [UNMEASURED]
    assert found(why="needs people") == [UNMEASURED]


def test_floor_and_bar() -> None:
    def at(psnr: float, error: float) -> dict[str, list[float]]:
        return {"psnr": [psnr], "ciede2000": [error]}

    entries = {
        "grey": entry("grey", related=at(20, 10)),
        "flow": Entry("flow", "flow", sets=entry("", **{"film-1": at(30, 3), "film-8": at(25, 5)}).sets),
        "worse": entry("worse", related=at(19, 11)),
        "mixed": entry("mixed", related=at(19, 9), **{"film-1": at(31, 4), "film-8": at(26, 4)}),
    }
    assert failing(entries) == {"worse": "related"}
    assert recommended(entries, (1, 8, 32)) == {"mixed": [8]}


def test_the_grid_stays_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 200, 3), np.uint8)
    write_grid(tmp_path / "grid.png", {f"row {n}": [noise, None, noise, noise, noise, noise] for n in range(20)})
    assert (tmp_path / "grid.png").stat().st_size < MOST_BYTES
    sheet = cv2.imread(str(tmp_path / "grid.png"))
    assert sheet is not None and sheet.shape[0] % 20 == 0


def test_a_failing_row_raises_at_the_end(data: Path, config: Path, tmp_path: Path) -> None:
    config.write_text(CONFIG.replace("truth: {model: truth, shown: true}", "truth: {model: propagator-b}", 1))
    with pytest.raises(StreamcolorError, match=r"1 of 1 rows failed: truth \(no weights of propagator-b"):
        compare(read_comparison(config), Places(data, tmp_path / "out"), only=["truth"])
    assert "RESULTS" in str(list((tmp_path / "out").glob("RESULTS.md")))
