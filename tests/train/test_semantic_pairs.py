"""Semantic pairs: the same every time, related ones resemble each other, palettes are the colors of a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from streamcolor.errors import InputError, OutputError
from streamcolor.train.palettes import palette_of, picture_of_palette, read_palettes
from streamcolor.train.semantic_pairs import (
    SemanticPair,
    description,
    hog,
    partners,
    read_semantic_pairs,
    semantic_pairs,
    unit,
)
from streamcolor.train.vgg19 import Vgg19


def stripes(turn: float, noise: int, size: int = 96) -> np.ndarray:
    """Waves in one direction, their colors by chance."""
    rng = np.random.default_rng(noise)
    y, x = np.mgrid[:size, :size] / size
    wave = 0.5 + 0.5 * np.sin(40 * (x * np.cos(turn) + y * np.sin(turn)))[..., None]
    rgb = wave * rng.integers(60, 255, 3) + rng.normal(0, 6, (size, size, 3))
    return rgb.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three directions, three pictures of each."""
    folder = tmp_path_factory.mktemp("stills")
    for direction in range(3):
        (folder / str(direction)).mkdir()
        for number in range(3):
            picture = stripes(direction * np.pi / 3 + number / 5, 10 * direction + number)
            Image.fromarray(picture).save(folder / f"{direction}/{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_pairs_of_a_folder(stills: Path, tmp_path: Path) -> None:
    seen = []
    result = semantic_pairs(stills, tmp_path, on_picture=lambda done, of: seen.append((done, of)))
    assert seen == [(n, 10) for n in range(1, 11)]
    assert (result.feature, result.related, result.farthest, result.palette) == ("hog", 9, 9, 9)
    assert [name for name, _ in result.skipped] == ["broken.png"]
    pairs = read_semantic_pairs(tmp_path, stills)
    assert len(pairs) == 27
    for pair in pairs:
        assert pair.target.is_file() and pair.reference.is_file() and pair.target != pair.reference
        same = pair.target.parent == pair.reference.parent
        if pair.kind == "palette":
            assert pair.distance is None and pair.reference.parent == tmp_path / "palettes"
        else:
            assert same is (pair.kind == "related")
            features = [hog(np.asarray(Image.open(file))) for file in (pair.target, pair.reference)]
            assert pair.distance == pytest.approx(1 - features[0] @ features[1], abs=1e-5)
    text = (tmp_path / "pairs.csv").read_text()
    assert text.splitlines()[:2] == ["# feature: hog", "target,reference,kind,distance"]
    assert text.splitlines()[2:] == sorted(text.splitlines()[2:])


def test_again_is_the_same_and_another_seed_is_not(stills: Path, tmp_path: Path) -> None:
    texts, bars = [], []
    for number, seed in enumerate((0, 0, 1)):
        output = tmp_path / str(number)
        result = semantic_pairs(stills, output, related=4, independent=5, seed=seed)
        assert (result.related, result.farthest, result.palette) == (4, 3, 2)
        texts.append((output / "pairs.csv").read_bytes())
        bars.append((output / "palettes/00001.png").read_bytes())
    assert texts[0] == texts[1] != texts[2] and bars[0] == bars[1]


def test_palettes_of_a_file(stills: Path, tmp_path: Path) -> None:
    file = tmp_path / "palettes.txt"
    file.write_text("#000000 #ff0000, #00ff00;#0000ff ffffff\n\n")
    (palette,) = read_palettes(file)
    assert palette.tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    semantic_pairs(stills, tmp_path, palettes=file, related=1, independent=2)
    shown = np.asarray(Image.open(tmp_path / "palettes/00000.png"))
    assert shown.shape == (256, 256, 3) and shown[:, 100].tolist() == [[255, 0, 0]] * 256
    assert len(np.unique(shown[0], axis=0)) == 5
    for text, says in (("#12345\n", r"palettes\.txt:1: a palette is"), ("\n", "holds no palettes")):
        file.write_text(text)
        with pytest.raises(InputError, match=says):
            read_palettes(file)
    with pytest.raises(InputError, match="does not hold palettes"):
        read_palettes(tmp_path / "none.txt")


def test_a_palette_is_the_colors_of_a_picture() -> None:
    colors = np.array([[200, 30, 30], [20, 180, 40], [10, 20, 220], [240, 240, 20], [5, 5, 5]], np.uint8)
    shares = np.repeat(np.arange(5), [30, 14, 10, 6, 4])
    picture = np.broadcast_to(colors[shares][:, None], (64, 64, 3)).astype(np.uint8)
    assert np.abs(palette_of(picture).astype(int) - colors).max() <= 1
    assert palette_of(np.full((8, 8, 3), 7, np.uint8)).tolist() == [[7, 7, 7]] * 5
    widths = np.unique(picture_of_palette(colors)[0].astype(int) @ [1, 1000, 1000000], return_counts=True)[1]
    assert sorted(widths) == [51, 51, 51, 51, 52]


def test_orientations() -> None:
    """Of a picture without edges nothing, of stripes their direction alone, whatever the colors and the brightness."""
    assert not hog(np.full((50, 70, 3), 90, np.uint8)).any()
    upright = np.broadcast_to((np.arange(128) // 8 % 2 * 200)[None, :, None], (128, 128, 3)).astype(np.uint8)
    cells = hog(upright).reshape(64, 8)
    assert np.linalg.norm(cells) == pytest.approx(1) and not cells[:, 1:].any()
    lying = hog(np.ascontiguousarray(upright.transpose(1, 0, 2))).reshape(64, 8)
    assert lying[:, 4].all() and not lying[:, [0, 1, 2, 3, 5, 6, 7]].any()
    picture = stripes(0.7, 1)
    darker = (picture * 0.6).astype(np.uint8)
    assert hog(picture) @ hog(darker) > 0.97


def test_a_picture_is_not_paired_with_its_repetition() -> None:
    rng = np.random.default_rng(0)
    one, other, third = (unit(rng.random(512)) for _ in range(3))
    features = np.stack([one, unit(one + 0.001 * other), other, third])
    nearest, farthest = (partners(features, [0, 2], farthest=far) for far in (False, True))
    to = 1 - features[0] @ features.T
    assert nearest[0] is not None and nearest[0][0] == (2 if to[2] < to[3] else 3)
    assert farthest[0] is not None and farthest[0][0] == (3 if to[2] < to[3] else 2)
    assert partners(features[:2], [0, 1]) == [None, None]


def test_vgg19_in_the_place_of_orientations(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Vgg19()
    torch.save(network.state_dict(), tmp_path / "v.pth")
    describe = description(tmp_path / "v.pth")
    picture = cv2.resize(stripes(0.3, 2), (224, 224))
    feature = describe.of(picture)
    assert describe.name == "vgg19" and feature.shape == (512,)
    with torch.inference_mode():
        expected = network(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] / 255).mean((2, 3))[0]
    np.testing.assert_allclose(feature, (expected / expected.norm()).numpy(), atol=1e-5)


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    Image.fromarray(stripes(0, 0)).save(tmp_path / "few/one.png")
    with pytest.raises(InputError, match="fewer than two pictures"):
        semantic_pairs(tmp_path / "few", tmp_path / "out")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        semantic_pairs(stills, tmp_path / "file")
    for text in ("", "a,b\n1,2\n", "target,reference,kind,distance\na,b,other,0.1\n"):
        (tmp_path / "pairs.csv").write_text(text)
        if text:
            with pytest.raises(InputError, match="not a list of semantic pairs"):
                read_semantic_pairs(tmp_path, stills)
        else:
            assert read_semantic_pairs(tmp_path, stills) == list[SemanticPair]()
    with pytest.raises(InputError, match="not a list of semantic pairs"):
        read_semantic_pairs(tmp_path / "nowhere", stills)
