"""Pictures and label maps from files, and pictures back into them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from streamcolor.errors import InputError, OutputError
from streamcolor.media.stills import Still, read_labels, read_still, write_still

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("suffix", "channels"), [(".png", 3), (".png", 4), (".tif", 3)])
def test_what_is_written_is_read_back(
    depth: int, suffix: str, channels: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    codes = RNG.integers(0, 2**depth, (9, 7, channels))
    unit = (codes / (2**depth - 1)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    write_still(path, Still(unit[..., :3], unit[..., 3] if channels == 4 else None, depth))
    found = read_still(path)
    assert capfd.readouterr() == ("", "")
    assert found.depth == depth and (found.alpha is not None) == (channels == 4)
    np.testing.assert_array_equal(np.rint(found.rgb * (2**depth - 1)), codes[..., :3])
    if found.alpha is not None:
        np.testing.assert_array_equal(np.rint(found.alpha * (2**depth - 1)), codes[..., 3])
    if depth == 8:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), codes)


def test_other_formats_have_fewer_bits_or_no_transparency(tmp_path: Path) -> None:
    still = Still(np.full((16, 16, 3), 0.5, np.float32), np.zeros((16, 16), np.float32), 16)
    for suffix in (".jpg", ".bmp", ".tiff"):
        write_still(tmp_path / f"a{suffix}", still)
        found = read_still(tmp_path / f"a{suffix}")
        assert found.depth == (16 if suffix == ".tiff" else 8) and found.alpha is None
        np.testing.assert_allclose(found.rgb, 0.5, atol=0.01)
    with pytest.raises(OutputError, match=r"read-only|does not exist|cannot be written"):
        write_still(tmp_path / "missing" / "a.png", still)


def test_grey_pictures_have_three_channels_and_photos_stand_upright(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (6, 5), np.uint8)
    Image.fromarray(grey).save(tmp_path / "g.png")
    np.testing.assert_array_equal(np.rint(read_still(tmp_path / "g.png").rgb * 255), np.repeat(grey[..., None], 3, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, :8, 0] = 255
    Image.fromarray(wide).save(tmp_path / "p.jpg", exif=exif, quality=95)
    found = read_still(tmp_path / "p.jpg").rgb
    assert found.shape == (24, 8, 3) and found[2, 4, 0] > 0.8 > 0.2 > found[20, 4, 0]


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="is not a picture of 8 or 16 bits"):
        read_still(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"none.png cannot be read: No such file"):
        read_still(tmp_path / "none.png")
    cv2.imwrite(str(tmp_path / "f.tiff"), np.zeros((4, 4, 3), np.float32))
    with pytest.raises(InputError, match="is not a picture of 8 or 16 bits"):
        read_still(tmp_path / "f.tiff")


@pytest.mark.parametrize("labels", [3, 17, 200])
def test_labels_are_the_numbers_of_the_palette(labels: int, tmp_path: Path) -> None:
    """Whatever the colors are, and with as few bits as the file may have."""
    numbers = RNG.integers(0, labels, (13, 21), np.uint8)
    picture = Image.fromarray(numbers).convert("P")
    picture.putdata(numbers.ravel().tolist())
    picture.putpalette([(7 * n) % 256 for n in range(labels * 3)])
    picture.save(tmp_path / "l.png", bits=2 if labels < 5 else 8)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.png"), numbers)
    Image.fromarray(numbers).save(tmp_path / "g.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "g.png"), numbers)


def test_what_is_no_label_map_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RNG.integers(0, 256, (6, 5, 3), np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match="is not a label map"):
        read_labels(tmp_path / "c.png")
    (tmp_path / "n.png").write_bytes(b"nonsense")
    for name in ("n.png", "none.png"):
        with pytest.raises(InputError, match=r"the label map .* cannot be read"):
            read_labels(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_a_smooth_picture_survives_compression_without_a_word(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    rgb = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.float32(0.5)), -1)
    write_still(tmp_path / f"a{suffix}", Still(rgb, None, 8))
    assert np.abs(read_still(tmp_path / f"a{suffix}").rgb - rgb).mean() < 0.01
    assert capfd.readouterr() == ("", "")
