"""First and last frames of videos become pairs, on disk and in memory, and nothing bad stops the rest."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from streamcolor.commands import main
from streamcolor.errors import InputError
from streamcolor.train.ends import first_and_last, resized, shot_ends
from streamcolor.train.paired import PairBatches, as_lab, as_rgb, frames_of, load_pairs
from streamcolor.train.pairs import konvid_pairs, read_manifest, split_of

RED, GREEN, BLUE = (200, 40, 40), (40, 160, 60), (50, 60, 200)


def plain(color: tuple[int, int, int], size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    return np.full((*size, 3), color, np.uint8)


def shot(name: str, length: int) -> list[NDArray[np.uint8]]:
    """A camera that pans over a photograph, a pixel a frame."""
    picture = cv2.resize(getattr(data, name)(), (192, 128), interpolation=cv2.INTER_AREA)
    return [np.ascontiguousarray(picture[:96, number : number + 128]) for number in range(length)]


def write_video(path: Path, frames: list[NDArray[np.uint8]], **options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def near(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> bool:
    return bool(np.abs(picture.astype(int).mean((0, 1)) - color).max() < 12)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve videos that go from red to blue, one of them long, one broken off, one broken, one of a single frame."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(9):
        write_video(folder / f"set/{number}.mp4", [plain(RED)] + [plain(GREEN)] * 4 + [plain(BLUE)])
    write_video(folder / "long.mkv", [plain(RED)] * 3 + [plain(GREEN)] * 90 + [plain(BLUE)])
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
    whole = write_video(folder / "cut off.mp4", [plain(RED), *noise, plain(BLUE)], movflags="faststart").read_bytes()
    (folder / "cut off.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    write_video(folder / "single.avi", [plain(RED)])
    return folder


def test_the_ends_of_a_video_are_its_first_and_last_frame(videos: Path) -> None:
    for name in ("set/0.mp4", "long.mkv"):
        ends = first_and_last(videos / name, 32)
        assert ends.first.shape == ends.last.shape == (32, 32, 3)
        assert near(ends.first, RED) and near(ends.last, BLUE) and not ends.damaged


def test_damaged_videos_give_what_decodes_and_broken_ones_are_refused(videos: Path) -> None:
    ends = first_and_last(videos / "cut off.mp4", 32)
    assert near(ends.first, RED) and not near(ends.last, BLUE)
    assert ends.damaged
    for name, reason in (("broken.mp4", "cannot be read"), ("single.avi", "fewer than two"), ("none.mp4", "No such")):
        with pytest.raises(InputError, match=reason):
            first_and_last(videos / name)


def test_decord_and_pyav_see_the_same(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("decord")
    by_decord = first_and_last(videos / "long.mkv", 32)
    assert by_decord.decoder == "decord"
    monkeypatch.setitem(__import__("sys").modules, "decord", None)
    by_pyav = first_and_last(videos / "long.mkv", 32)
    assert by_pyav.decoder == "pyav"
    for one, other in ((by_decord.first, by_pyav.first), (by_decord.last, by_pyav.last)):
        assert np.abs(one.astype(int) - other).mean() < 2


def test_every_shot_has_its_ends(tmp_path: Path) -> None:
    names = ("astronaut", "coffee", "chelsea")
    shots = shot_ends(write_video(tmp_path / "film.mp4", [f for name in names for f in shot(name, 24)]), 32)
    assert len(shots) == 3
    for ends, name in zip(shots, names, strict=True):
        for picture, frame in ((ends.first, shot(name, 24)[0]), (ends.last, shot(name, 24)[-1])):
            assert np.abs(picture.astype(int) - resized(frame, 32)).mean() < 8


def test_pairs_are_written_with_a_manifest_that_holds(videos: Path, tmp_path: Path) -> None:
    seen = []
    result = konvid_pairs(videos, tmp_path / "out", size=32, workers=2, on_video=lambda *n: seen.append(n))
    assert (result.train, result.validation, result.done_before) == (9, 2, 0)
    assert [name for name, _ in result.skipped] == ["broken.mp4", "single.avi"]
    assert result.damaged == ["cut off.mp4"]
    assert seen[0] == (0, 13) and seen[-1] == (13, 13)
    rows = read_manifest(tmp_path / "out")
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows) and len(rows) == 11
    for row in rows:
        picture = Image.open(tmp_path / "out" / row["first"])
        assert picture.size == (32, 32) and near(np.asarray(picture), RED)
        assert len(row["sha256"]) == len(row["last_sha256"]) == 64
    with (tmp_path / "out/skipped.csv").open(newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)] == ["broken.mp4", "single.avi"]


def test_a_run_that_was_stopped_goes_on(videos: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "videos", tmp_path / "out"
    shutil.copytree(videos / "set", folder)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        konvid_pairs(folder, output, size=32, workers=1, on_video=stop)
    assert not (output / "manifest.csv").exists()
    with (output / "journal.jsonl").open("a") as journal:
        journal.write('{"id": "half a li')
    result = konvid_pairs(folder, output, size=32, workers=1)
    assert 4 <= result.done_before < 9 and result.train + result.validation == 9
    manifest = (output / "manifest.csv").read_bytes()
    # A picture that is not what it was, and a video that is not, are made again; the rest stays.
    (output / "pairs/0/first.png").write_bytes(b"")
    write_video(folder / "1.mp4", [plain(GREEN)] * 9)
    again = konvid_pairs(folder, output, size=32)
    assert again.done_before == 7
    rows = {row["id"]: row for row in read_manifest(output)}
    assert (output / "pairs/0/first.png").stat().st_size > 0 and (output / "manifest.csv").read_bytes() != manifest
    assert rows["1"]["first_sha256"] != rows["0"]["first_sha256"]
    assert konvid_pairs(folder, output, size=32).done_before == 9


def test_the_split_is_by_video_and_always_the_same() -> None:
    splits = split_of(f"{number:04d}" for number in range(2776))
    assert list(splits.values()).count("train") == 2220
    order = np.random.default_rng(0).permutation(2776)
    assert splits[f"{order[0]:04d}"] == "train" and splits[f"{order[-1]:04d}"] == "validation"
    assert splits == split_of(reversed(list(splits)))
    counts = {n: list(split_of(map(str, range(n))).values()).count("validation") for n in (1, 2, 4, 9, 10, 99, 100)}
    assert counts == {1: 0, 2: 1, 4: 1, 9: 1, 10: 2, 99: 19, 100: 20}


def test_the_command_says_what_it_did(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["data", "konvid-pairs", str(videos), str(tmp_path / "out"), "--size", "32", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*call, "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["train"] == 9
    with pytest.raises(SystemExit):
        main(call)
    said = capsys.readouterr()
    assert "9 pairs to train on, 2 to validate on (11 were there, 2 videos skipped)" in said.out
    assert "skipped broken.mp4" in said.err and "damaged cut off.mp4" in said.err
    with pytest.raises(SystemExit) as ended:
        main(["data", "konvid-pairs", str(tmp_path / "nothing"), str(tmp_path / "o")])
    assert ended.value.code == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["data", "konvid-pairs", str(tmp_path / "empty"), str(tmp_path / "o")])
    assert ended.value.code == 3 and "holds no videos" in capsys.readouterr().err


def test_training_reads_the_set_with_its_split(videos: Path, tmp_path: Path) -> None:
    konvid_pairs(videos, tmp_path, size=32, workers=1)
    pairs = load_pairs(tmp_path, size=16)
    splits = {row["id"]: row["split"] for row in read_manifest(tmp_path)}
    assert {pair.name for pair in pairs.validation} == {id for id, split in splits.items() if split == "validation"}
    assert len(pairs.train) == 9 and pairs.train[0].target.shape == (16, 16, 3)
    assert near(pairs.train[1].reference, RED) and near(pairs.train[1].target, BLUE)
    (tmp_path / "manifest.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not a manifest"):
        load_pairs(tmp_path)


def test_any_folder_will_do(videos: Path, tmp_path: Path) -> None:
    """Videos, a folder of frames, stills; what is grey or broken is left out and told."""
    shutil.copytree(videos, tmp_path / "videos")
    stills = {"frames/f_008.png": RED, "frames/f_009.png": GREEN, "frames/f_010.png": BLUE}
    stills |= {"stills/7.png": RED, "stills/9.png": BLUE, "stills/grey.png": (90, 90, 90)}
    for name, color in stills.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(plain(color)).save(tmp_path / name)
    (tmp_path / "stills/broken.jpg").write_bytes(b"no picture")
    with_stills, without = load_pairs(tmp_path, size=16), load_pairs(tmp_path, size=16, stills=False)
    assert len(with_stills.train) + len(with_stills.validation) == 11 + 1 + 2
    assert with_stills.grey == 1 and len(with_stills.skipped) == 3
    assert len(without.train) + len(without.validation) == 11 + 1
    frames = next(pair for pair in without.train + without.validation if pair.name == "frames")
    assert near(frames.reference, RED) and near(frames.target, BLUE)
    alone = load_pairs(tmp_path, size=16, alone=True)
    assert len(alone.train) + len(alone.validation) == 2 * (11 + 1) + 2
    assert all(pair.reference is pair.target for pair in alone.train)


def test_parts_of_a_still_overlap(tmp_path: Path) -> None:
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 2] = np.linspace(0, 252, 64), 100
    for number in (3, 8):
        Image.fromarray(ramp).save(tmp_path / f"{number}.png")
    pair = load_pairs(tmp_path, size=48).train[0]
    np.testing.assert_array_equal(pair.reference, ramp[:48, :48])
    np.testing.assert_array_equal(pair.target, ramp[16:, 16:])


def test_a_few_videos_are_cut_into_shots(tmp_path: Path) -> None:
    names = ("astronaut", "coffee", "chelsea", "rocket", "astronaut")
    write_video(tmp_path / "film.mp4", [frame for name in names for frame in shot(name, 24)])
    pairs = load_pairs(tmp_path, size=16)
    assert len(pairs.train) == 4 and len(pairs.validation) == 1


def test_frames_are_told_from_stills(tmp_path: Path) -> None:
    def paths(*names: str, sizes: tuple[int, ...] = (8, 8, 8)) -> list[Path]:
        for name, side in zip(names, sizes, strict=False):
            Image.new("RGB", (side, 8)).save(tmp_path / name)
        return [tmp_path / name for name in names]

    frames = paths("x010.png", "x009.png", "x011.png")
    assert frames_of(frames) == (frames[1], frames[2])
    assert frames_of(paths("x009.png", "x011.png")) is None
    assert frames_of(paths("x1.png", "y2.png")) is None
    assert frames_of(paths("cat.png", "dog.png")) is None
    assert frames_of(paths("1.png", "2.png", sizes=(8, 16))) is None
    assert frames_of(paths("1.png")) is None
    assert frames_of(paths("last.png", "first.png")) == (tmp_path / "first.png", tmp_path / "last.png")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no color pictures"):
        load_pairs(tmp_path)
    Image.fromarray(plain((80, 80, 80))).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match="no color pictures"):
        load_pairs(tmp_path)


def test_batches_are_pure_functions_of_seed_and_number(videos: Path) -> None:
    pairs = load_pairs(videos / "set", size=16).train
    assert len(pairs) == 8
    source = PairBatches(pairs, 3, seed=4)
    assert source.epoch == 3 and [len(source.sample(n)["target"]) for n in range(4)] == [3, 3, 2, 3]
    again = iter(PairBatches(pairs, 3, seed=4, start=5))
    for number in (5, 6):
        assert torch.equal(next(again)["target"], source.sample(number)["target"])
    shares = [iter(PairBatches(pairs, 3, seed=4, rank=rank, world=2)) for rank in (0, 1)]
    for number in range(4):
        assert torch.equal(next(shares[number % 2])["target"], source.sample(number)["target"])


def test_pictures_as_tensors() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    rgb, lab = as_rgb(picture), as_lab(picture)
    assert rgb.shape == lab.shape == (3, 16, 24) and rgb.dtype == lab.dtype == torch.float32
    np.testing.assert_array_equal((rgb * 255).round().permute(1, 2, 0), picture)
    white = as_lab(np.full((2, 2, 3), 255, np.uint8))
    torch.testing.assert_close(white[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]), atol=1e-4, rtol=0)
    assert lab[0].min() >= 0 and lab[1:].abs().max() <= 1
