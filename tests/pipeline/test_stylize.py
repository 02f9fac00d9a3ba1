"""Stills that take on the colors of others: files and folders, label maps, the luma, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from streamcolor.colorizers.stylization.network import StylizationNetwork
from streamcolor.commands import stylize as stylize_command
from streamcolor.errors import CallError, InputError, OutputError
from streamcolor.media.stills import read_still
from streamcolor.pipeline.stylize import StylizeOptions, stylize, stylized


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random, with outputs around grey, so that colors are not all clipped."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = StylizationNetwork(4)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.5, 1.5)
    network.transfer.decoder["d1_1"].weight.data *= 0.1
    network.transfer.decoder["d1_1"].bias.data += 0.5
    file = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(network.state_dict(), file)
    return file


def picture(seed: int, height: int = 45, width: int = 61) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 5, 3), np.float32) * 255
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture
def options(weights: Path, tmp_path: Path) -> StylizeOptions:
    for name, seed, size in (("content.png", 1, (45, 61)), ("style.png", 2, (38, 50))):
        Image.fromarray(picture(seed, *size)).save(tmp_path / name)
    return StylizeOptions(tmp_path / "content.png", tmp_path / "style.png", tmp_path / "out.png", weights, device="cpu")


def result(options: StylizeOptions, **changes: object) -> np.ndarray:
    (path,) = stylize(replace(options, overwrite=True, **changes))  # type: ignore[arg-type]
    return np.asarray(Image.open(path))


def test_the_output_has_the_size_of_the_content_and_every_option_counts(options: StylizeOptions) -> None:
    plain = result(options)
    assert plain.shape == (45, 61, 3) and plain.dtype == np.uint8 and plain.std() > 1
    np.testing.assert_array_equal(result(options), plain)
    for change in ({"variant": "wct"}, {"sites": "enc"}, {"sites": "dec"}, {"mode": "grey"}, {"keep_luma": True}):
        assert not np.array_equal(result(options, **change), plain), change
    assert not np.array_equal(result(options, style=options.content), plain)


def test_the_luma_can_be_kept(options: StylizeOptions) -> None:
    """Y' of BT.709 within a code value; the colors are those of the other result, where they can be shown."""
    coefficients = np.array([0.2126, 0.7152, 0.0722])
    content = np.asarray(Image.open(options.content))
    kept = result(options, keep_luma=True)
    assert np.abs(kept @ coefficients - content @ coefficients).max() <= 1
    assert np.abs(result(options) @ coefficients - content @ coefficients).max() > 5
    assert np.abs(kept.astype(int) - content).max() > 5


def test_a_grey_content_is_colored_first(options: StylizeOptions) -> None:
    """In that mode the colors of the content do not count, only its luma."""
    grey = np.asarray(Image.open(options.content)) @ np.array([0.2126, 0.7152, 0.0722])
    path = options.content.with_name("grey.png")
    Image.fromarray(np.repeat(grey.round().astype(np.uint8)[..., None], 3, 2)).save(path)
    one, other = (result(options, mode="grey", content=c).astype(int) for c in (options.content, path))
    assert np.abs(one - other).mean() < 1
    assert np.abs(result(options).astype(int) - result(options, content=path)).mean() > 1


def labels_of(path: Path, shape: tuple[int, int], left: int, right: int) -> Path:
    numbers = np.full(shape, left, np.uint8)
    numbers[:, shape[1] // 2 :] = right
    Image.fromarray(numbers).save(path)
    return path


def test_label_maps_say_what_belongs_together(options: StylizeOptions, tmp_path: Path) -> None:
    style = np.zeros((40, 60, 3), np.uint8)
    style[:, :30, 0], style[:, 30:, 2] = 230, 230
    style = np.clip(style + np.random.default_rng(0).integers(0, 25, style.shape), 0, 255).astype(np.uint8)
    Image.fromarray(style).save(options.style)
    plain = result(options)
    there = labels_of(tmp_path / "t.png", (40, 60), 1, 2)
    found = {}
    for name, (left, right) in {"straight": (1, 2), "swapped": (2, 1)}.items():
        here = labels_of(tmp_path / f"{name}.png", (45, 61), left, right)
        found[name] = result(options, content_labels=here, style_labels=there).astype(float)
    half = 61 // 2
    straight, swapped = ([one[:, :half].mean((0, 1)), one[:, half:].mean((0, 1))] for one in found.values())
    assert np.abs(straight[0] - swapped[0]).max() > 3
    assert not np.array_equal(found["straight"], plain)
    # One label everywhere is as good as none.
    zero = labels_of(tmp_path / "z.png", (45, 61), 0, 0), labels_of(tmp_path / "y.png", (40, 60), 0, 0)
    np.testing.assert_array_equal(result(options, content_labels=zero[0], style_labels=zero[1]), plain)
    # A map of half the size serves as well; without a common label the colors stay what the network makes of them.
    small = labels_of(tmp_path / "s.png", (23, 31), 1, 2)
    assert result(options, content_labels=small, style_labels=there).shape == (45, 61, 3)
    other = labels_of(tmp_path / "o.png", (45, 61), 7, 8)
    assert not np.array_equal(result(options, content_labels=other, style_labels=there), plain)


def test_transparent_places_of_the_style_say_nothing(options: StylizeOptions, weights: Path) -> None:
    from streamcolor.colorizers.stylization import Stylization

    network = Stylization(weights).network
    content, style = read_still(options.content), read_still(options.style)
    painted = style.rgb.copy()
    painted[:, :20] = 1
    alpha = np.ones(style.rgb.shape[:2], np.float32)
    alpha[:, :28] = 0
    clear, wild = (stylized(network, content, replace(style, rgb=rgb, alpha=alpha)) for rgb in (style.rgb, painted))
    opaque = [stylized(network, content, replace(style, rgb=rgb)) for rgb in (style.rgb, painted)]
    assert np.abs(clear - wild).mean() < 0.1 * np.abs(opaque[0] - opaque[1]).mean()


def test_depth_and_transparency_of_the_content_stay(options: StylizeOptions) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30, 4), np.uint16)
    path = options.content.with_name("deep.png")
    cv2.imwrite(str(path), deep)
    (made,) = stylize(replace(options, content=path))
    found = cv2.imread(str(made), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16 and found.shape == (20, 30, 4)
    np.testing.assert_array_equal(found[..., 3], deep[..., 3])
    assert len(np.unique(found[..., 0] % 256)) > 50


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (8, 9), (17, 16)])
def test_pictures_of_any_size(options: StylizeOptions, size: tuple[int, int]) -> None:
    path = options.content.with_name("small.png")
    Image.fromarray(picture(5, *size)).save(path)
    for style in (options.style, path):
        assert result(options, content=path, style=style).shape == (*size, 3)


def test_folders(options: StylizeOptions, tmp_path: Path) -> None:
    contents, styles = tmp_path / "contents", tmp_path / "styles"
    for folder, names in ((contents, ("a.png", "b.jpg")), (styles, ("a.tif", "b.png", "c.png"))):
        folder.mkdir()
        for number, name in enumerate(names):
            Image.fromarray(picture(number, 20, 30)).save(folder / name)
    (contents / "notes.txt").write_text("no picture")
    seen: list[Path] = []
    out = tmp_path / "each"
    made = stylize(replace(options, content=contents, output=out), seen.append)
    assert made == seen == [out / "a.png", out / "b.jpg"] and all(path.exists() for path in made)
    made = stylize(replace(options, content=contents, style=styles, output=tmp_path / "pairs"))
    assert [path.name for path in made] == ["a.png", "b.jpg"]
    made = stylize(replace(options, style=styles, output=tmp_path / "styles of one"))
    assert [path.name for path in made] == ["a.tif", "b.png", "c.png"]
    (styles / "b.png").unlink()
    with pytest.raises(InputError, match=r"styles holds no picture named as b.jpg"):
        stylize(replace(options, content=contents, style=styles, output=tmp_path / "pairs", overwrite=True))
    maps = tmp_path / "maps"
    maps.mkdir()
    labels_of(maps / "a.png", (20, 30), 1, 2)
    with pytest.raises(InputError, match=r"the label map .*b.png cannot be read"):
        stylize(
            replace(
                options,
                content=contents,
                output=out,
                overwrite=True,
                content_labels=maps,
                style_labels=labels_of(tmp_path / "t.png", (38, 50), 1, 2),
            )
        )


def test_what_cannot_be_done_is_refused(options: StylizeOptions, tmp_path: Path) -> None:
    options.output.write_bytes(b"there")
    labels = labels_of(tmp_path / "l.png", (45, 45), 1, 2)
    (tmp_path / "empty").mkdir()
    for change, kind, says in (
        ({}, OutputError, "exists; give --overwrite"),
        ({"output": options.content, "overwrite": True}, CallError, "is what is to be read"),
        ({"output": options.style, "overwrite": True}, CallError, "is what is to be read"),
        ({"output": tmp_path / "a.gif"}, CallError, "is not the name of a picture"),
        ({"output": tmp_path / "b" / "a.png"}, OutputError, "does not exist"),
        ({"content_labels": labels}, CallError, "label maps come in twos"),
        ({"variant": "x"}, CallError, "no --variant 'x': choose adain, wct"),
        ({"mode": "x"}, CallError, "no --mode 'x': choose photo, grey"),
        ({"content": tmp_path / "empty", "output": tmp_path / "o"}, InputError, "holds no pictures"),
        ({"content": tmp_path / "none.png", "overwrite": True}, InputError, "cannot be read"),
        ({"weights": options.style, "overwrite": True}, InputError, "does not hold the weights of stylization"),
        (
            {"content_labels": labels, "style_labels": labels, "overwrite": True},
            InputError,
            "is 45x45 and .* 61x45; give one of the same shape",
        ),
    ):
        with pytest.raises(kind, match=says):
            stylize(replace(options, **change))  # type: ignore[arg-type]
    assert options.output.read_bytes() == b"there"


def test_the_folder_of_a_training_run_holds_weights(options: StylizeOptions, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    app = typer.Typer()
    app.command()(stylize_command.command)
    words = [str(options.content), str(options.style), "-o", str(options.output), "--weights", str(run)]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu"])
    assert isinstance(ran.exception, InputError) and "is no folder of a training run" in str(ran.exception)
    shutil.copy(options.weights, run / "average.safetensors")
    assert CliRunner().invoke(app, [*words, "--device", "cpu"]).exit_code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(options.output)), result(options))


def test_the_command(options: StylizeOptions) -> None:
    app = typer.Typer()
    app.command()(stylize_command.command)
    words = [str(options.content), str(options.style), "-o", str(options.output), "--weights", str(options.weights)]
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--variant", "wct", "--keep-luma"])
    assert ran.exit_code == 0 and str(options.output) in ran.stderr.replace("\n", "")
    np.testing.assert_array_equal(
        np.asarray(Image.open(options.output)), result(options, variant="wct", keep_luma=True)
    )
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--overwrite", "--quiet"])
    assert ran.exit_code == 0 and not ran.output
    ran = CliRunner().invoke(app, [*words, "--device", "cpu", "--sites", "all", "--overwrite"])
    assert isinstance(ran.exception, CallError)
