"""References: what --ref may name, what is refused, and which shot gets which."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from streamcolor.errors import CallError, InputError
from streamcolor.film.references import ReferencePicture, ReferencePlanner, load_references
from streamcolor.film.shots import Shot
from streamcolor.frame import Frame

HEIGHT, WIDTH = 144, 256
STILLS: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "astronaut": data.astronaut,
    "coffee": data.coffee,
    "chelsea": data.chelsea,
}


def color(name: str) -> NDArray[np.uint8]:
    """(144, 256, 3) BGR."""
    rgb = cv2.resize(STILLS[name](), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(rgb[..., ::-1])


def save(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16] | None = None) -> Path:
    assert cv2.imwrite(str(path), color("coffee") if picture is None else picture)
    return path


def frame(name: str, index: int = 0, depth: int = 8) -> Frame:
    grey = cv2.cvtColor(color(name), cv2.COLOR_BGR2GRAY).astype(np.float32)
    codes = np.round((16 + grey * 219 / 255) * 2 ** (depth - 8))
    return Frame(codes.astype(np.uint8 if depth == 8 else np.uint16), depth, index, index, Fraction(1, 25))


def load(
    *specs: str | Path,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sample_aspect: Fraction | None = None,
    fit: str = "refuse",
) -> list[ReferencePicture]:
    return load_references(
        [str(s) for s in specs], rate=rate, width=size[0], height=size[1], sample_aspect=sample_aspect, fit=fit
    )


@pytest.mark.parametrize(
    ("place", "rate", "number"),
    [
        ("120", Fraction(25), 120),
        ("00:00:05:12", Fraction(25), 137),
        ("00:01:05:12", Fraction(24000, 1001), 65 * 24 + 12),
        ("00:01:05.5", Fraction(24), 1572),
        ("00:01:00;02", Fraction(30000, 1001), 1800),
        ("00:10:00;00", Fraction(30000, 1001), 17982),
        ("01:00:00;00", Fraction(60000, 1001), 215784),
    ],
)
def test_a_file_with_its_place(tmp_path: Path, place: str, rate: Fraction, number: int) -> None:
    key = save(tmp_path / "key.png")
    (reference,) = load(f"{key}@{place}", rate=rate)
    assert reference.frame == number and reference.name == "key.png"


def test_a_bare_name_has_no_place_even_with_a_number_or_an_at(tmp_path: Path) -> None:
    names = [save(tmp_path / name) for name in ("key_0012.png", "me@120.png")]
    assert [reference.frame for reference in load(*names)] == [None, None]


def test_a_folder_reads_places_from_names(tmp_path: Path) -> None:
    for name in ("ref_000120.png", "7.jpg", "00-01-05-12.tiff", "portrait.webp", "deep3.bmp"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    places = {reference.name: reference.frame for reference in load(tmp_path)}
    assert places == {
        "ref_000120.png": 120,
        "7.jpg": 7,
        "00-01-05-12.tiff": 65 * 25 + 12,
        "portrait.webp": None,
        "deep3.bmp": 3,
    }


@pytest.mark.parametrize("place", ["", "x", "-5", "1.5", "00:61:00:00", "00:00"])
def test_a_wrong_place_is_a_wrong_call(tmp_path: Path, place: str) -> None:
    key = save(tmp_path / "key.png")
    with pytest.raises(CallError, match="timecode"):
        load(f"{key}@{place}")


def test_what_is_not_a_picture_is_refused(tmp_path: Path) -> None:
    for name, says in (("text.png", "not a picture"), ("film.mp4", "is a film"), ("empty.png", "not a picture")):
        (tmp_path / name).write_text("" if name == "empty.png" else "words")
        with pytest.raises(InputError, match=says):
            load(tmp_path / name)
    with pytest.raises(InputError, match="gone"):
        load(tmp_path / "gone.png")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        load(tmp_path / "nothing")
    with pytest.raises(CallError, match="stretch"):
        load(tmp_path / "text.png", fit="squeeze")


def test_depth_alpha_and_grey(tmp_path: Path) -> None:
    deep = color("coffee").astype(np.uint16) * 257
    alpha = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
    alpha[:, : WIDTH // 2] = 0
    save(tmp_path / "deep.png", np.concatenate([deep, alpha], 2))
    save(tmp_path / "flat.png")
    save(tmp_path / "grey.png", cv2.cvtColor(color("coffee"), cv2.COLOR_BGR2GRAY))
    pixels = {reference.name: reference.pixels() for reference in load(tmp_path)}
    np.testing.assert_allclose(pixels["deep.png"][0], pixels["flat.png"][0], atol=1e-6)
    np.testing.assert_allclose(pixels["flat.png"][0], color("coffee")[..., ::-1] / 255.0, atol=1e-6)
    assert set(np.unique(pixels["deep.png"][1][:, : WIDTH // 2])) == {0.0}
    assert float(pixels["deep.png"][1][:, WIDTH // 2 :].min()) == 1.0 == float(pixels["flat.png"][1].min())
    assert np.ptp(pixels["grey.png"][0], axis=2).max() == 0


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_photo_stands_upright(tmp_path: Path, suffix: str, orientation: int, turns: int) -> None:
    """orientation: of EXIF 2.3, tag 274; the stored picture is shown after this many quarter turns to the left."""
    upright = color("coffee")[..., ::-1]
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"key{suffix}"
    Image.fromarray(np.rot90(upright, -turns)).save(path, exif=exif, quality=95)
    (reference,) = load(path)
    pixels, alpha = reference.pixels()
    assert pixels.shape == (HEIGHT, WIDTH, 3) and alpha.min() == 1
    assert np.abs(pixels - upright / 255.0).mean() < 0.02


def test_a_picture_of_other_numbers_is_refused_without_more_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for kind in (np.float32, np.int32):
        save(tmp_path / "key.tiff", np.zeros((HEIGHT, WIDTH), kind))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="is not a picture of 8 or 16 bits"):
            load(tmp_path / "key.tiff")
    assert capfd.readouterr() == ("", "")


def test_palettes_and_inks_give_their_colors(tmp_path: Path) -> None:
    picture = Image.fromarray(np.ascontiguousarray(color("coffee")[..., ::-1]))
    indexed = picture.quantize(200)
    indexed.save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "inks.jpg", quality=95)
    pixels = {reference.name: reference.pixels()[0] for reference in load(tmp_path)}
    np.testing.assert_allclose(pixels["palette.png"], np.asarray(indexed.convert("RGB")) / 255.0, atol=1e-6)
    assert np.abs(pixels["inks.jpg"] - np.asarray(picture) / 255.0).mean() < 0.02


def test_something_is_left_of_a_picture_that_is_cropped_for_a_line(tmp_path: Path) -> None:
    key = save(tmp_path / "key.png", color("coffee")[:16, :16])
    for size, shape in (((640, 2), (1, 16, 3)), ((2, 640), (16, 1, 3))):
        (reference,) = load(key, size=size, fit="crop")
        pixels, alpha = reference.pixels()
        assert pixels.shape == shape and alpha.shape == shape[:2]


def test_another_aspect_needs_a_fit(tmp_path: Path) -> None:
    key = save(tmp_path / "key.png")
    with pytest.raises(InputError, match=r"1\.778.*1\.333.*--fit crop"):
        load(key, size=(640, 480))
    assert load(key, size=(1920, 1088))
    (cropped,) = load(key, size=(640, 480), fit="crop")
    assert cropped.pixels()[0].shape == (HEIGHT, 192, 3)
    (padded,) = load(key, size=(640, 480), fit="pad")
    rgb, alpha = padded.pixels()
    assert rgb.shape == (192, WIDTH, 3) and alpha.shape == (192, WIDTH)
    assert alpha[:24].max() == 0 and alpha[-24:].max() == 0 and alpha[24:-24].min() == 1
    (stretched,) = load(key, size=(640, 480), fit="stretch")
    assert stretched.pixels()[0].shape == (HEIGHT, WIDTH, 3)


def test_display_and_storage_aspect_both_fit(tmp_path: Path) -> None:
    wide = save(tmp_path / "wide.png", cv2.resize(color("coffee"), (1024, 576)))
    stored = save(tmp_path / "stored.png", cv2.resize(color("coffee"), (720, 576)))
    pal = Fraction(64, 45)
    assert len(load(wide, stored, size=(720, 576), sample_aspect=pal)) == 2
    with pytest.raises(InputError):
        load(wide, size=(720, 576))
    (cropped,) = load(wide, size=(720, 576), sample_aspect=pal, fit="crop")
    assert cropped.pixels()[0].shape == (576, 1024, 3)


SHOT = Shot(1, 100, "cut")


@pytest.mark.parametrize("depth", [8, 10])
def test_references_without_a_number_go_where_they_resemble(tmp_path: Path, depth: int) -> None:
    for name in STILLS:
        save(tmp_path / f"{name}.png", color(name))
    planner = ReferencePlanner(load(tmp_path))
    (assigned,) = planner.for_shot(SHOT, frame("chelsea", 100, depth), 115)
    assert assigned.reference.name == "chelsea.png" and assigned.score is not None and assigned.score > 0.95
    assert sorted(reference.name for reference in planner.unused()) == ["astronaut.png", "coffee.png"]


def test_a_single_reference_is_not_forced_on_a_shot(tmp_path: Path) -> None:
    planner = ReferencePlanner(load(save(tmp_path / "coffee.png")))
    assert planner.for_shot(Shot(0, 0, "cut"), frame("astronaut"), 20) == []
    assert [r.name for r in planner.unused()] == ["coffee.png"]


def test_a_numbered_reference_within_reach_needs_no_likeness(tmp_path: Path) -> None:
    key = save(tmp_path / "key.png", color("astronaut"))
    planner = ReferencePlanner(load(f"{key}@110"))
    (assigned,) = planner.for_shot(SHOT, frame("coffee", 100), 115)
    assert assigned.score is None and assigned.reference.frame == 110
    assert planner.arriving(frame("coffee", 101), SHOT, 116) == []


def test_a_numbered_reference_out_of_reach_waits_or_is_used_early_if_alike(tmp_path: Path) -> None:
    key = save(tmp_path / "key.png", color("astronaut"))
    planner = ReferencePlanner(load(f"{key}@150"))
    assert planner.for_shot(SHOT, frame("coffee", 100), 115) == []
    assert planner.arriving(frame("coffee", 134), SHOT, 149) == []
    assert [a.reference.frame for a in planner.arriving(frame("coffee", 135), SHOT, 150)] == [150]
    (early,) = ReferencePlanner(load(f"{key}@150")).for_shot(SHOT, frame("astronaut", 100), 115)
    assert early.score is not None


def test_a_numbered_reference_of_another_shot_comes_back_with_its_set_up_only(tmp_path: Path) -> None:
    key = save(tmp_path / "key.png", color("coffee"))
    planner = ReferencePlanner(load(f"{key}@10"))
    assert len(planner.for_shot(Shot(0, 0, "cut"), frame("coffee"), 15)) == 1
    assert planner.for_shot(Shot(1, 50, "cut"), frame("chelsea", 50), 65) == []
    assert len(planner.for_shot(Shot(2, 90, "cut"), frame("coffee", 90), 105)) == 1


def test_the_surest_comes_first(tmp_path: Path) -> None:
    exact = save(tmp_path / "exact.png")
    moved = save(tmp_path / "moved.png", np.roll(color("coffee"), 20, 1))
    own = save(tmp_path / "own.png", color("chelsea"))
    planner = ReferencePlanner(load(moved, exact, f"{own}@101"))
    assert [a.reference.name for a in planner.for_shot(SHOT, frame("coffee", 100), 110)] == [
        "own.png",
        "exact.png",
        "moved.png",
    ]
