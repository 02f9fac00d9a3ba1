"""NIMA with random weights under the names of its published implementation, against the layers written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from streamcolor.errors import InputError
from streamcolor.evaluation.aesthetics import FILE, AestheticsMeasure, Nima, aesthetics, load_nima, middle
from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.measures import choose_measures


def picture(seed: int, height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Nima()
    # Random votes would all be equal: random features are small.
    network.classifier[1].weight.data *= 300
    path = tmp_path_factory.mktemp("nima") / FILE
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def network(file: Path) -> Nima:
    return load_nima(file)


def test_the_score_is_the_mean_vote_written_out(network: Nima, file: Path) -> None:
    """torchvision's ``vgg16().features``, 31 layers, then the classifier of one layer and the softmax, in numpy."""
    state = torch.load(file, weights_only=True)
    assert sum(tensor.numel() for tensor in state.values()) == 14_714_688 + 10 * (512 * 49 + 1)
    layers: list[nn.Module] = []
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.LazyConv2d(width, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, 2))
    features = nn.Sequential(*layers)
    x = torch.from_numpy(middle(picture(1)).transpose(2, 0, 1).copy())[None] / 255
    with torch.no_grad():
        features(x)
        features.load_state_dict({n.removeprefix("features."): t for n, t in state.items() if n.startswith("features")})
        seen = features(x).reshape(-1).double().numpy()
    logits = state["classifier.1.weight"].double().numpy() @ seen + state["classifier.1.bias"].double().numpy()
    shares = np.exp(logits - logits.max())
    expected = (shares / shares.sum()) @ np.arange(1, 11)
    assert aesthetics(network, picture(1)) == pytest.approx(expected, abs=1e-3)
    assert 1 <= expected <= 10 and abs(expected - 5.5) > 0.01


@pytest.mark.parametrize("size", [(60, 90), (300, 500), (224, 900), (7, 5)])
def test_what_is_looked_at_is_the_middle(size: tuple[int, int]) -> None:
    marked = np.zeros((*size, 3), np.uint8)
    marked[size[0] // 3 : size[0] - size[0] // 3, size[1] // 3 : size[1] - size[1] // 3] = 200
    found = middle(marked)
    assert found.shape == (224, 224, 3) and found[112, 112].min() == 200
    # To within half a pixel, which an odd side costs.
    assert np.abs(found.astype(int) - found[::-1, ::-1]).mean() < 3


def test_the_measure_looks_at_every_eighth_compared_frame(network: Nima) -> None:
    measure = AestheticsMeasure(network, "cpu")
    good, bad = picture(1), picture(2) // 4
    for number in range(4):
        output = good if number == 1 else bad
        measure.add(Pair(number, bad, output, bad, bad[..., 0], bad[..., 0], number > 0))
    expected = {"aesthetics": aesthetics(network, good), "aesthetics_gt": aesthetics(network, bad)}
    assert measure.end_clip() == pytest.approx(expected)
    assert expected["aesthetics"] != expected["aesthetics_gt"]
    assert measure.end_clip() == {"aesthetics": None, "aesthetics_gt": None} and measure.pooled() == {}


def test_it_is_chosen_by_name_by_file_or_by_folder(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMCOLOR_BACKBONES", raising=False)
    missing = choose_measures("aesthetics")
    assert missing.measures == [] and missing.columns == ("aesthetics",)
    assert FILE in missing.missing["aesthetics"] and "--aesthetics-backbone" in missing.missing["aesthetics"]
    monkeypatch.setenv("STREAMCOLOR_BACKBONES", str(tmp_path))
    assert choose_measures("aesthetics").measures == []
    (tmp_path / FILE).symlink_to(file)
    for found in (choose_measures("aesthetics"), choose_measures("none", aesthetics_backbone=file)):
        assert found.columns == ("aesthetics", "aesthetics_gt") and found.missing == {}
        assert isinstance(found.measures[0], AestheticsMeasure)
    assert choose_measures("his").columns == ("his_ref", "his_ref_gt")


def test_another_file_is_refused(file: Path, tmp_path: Path) -> None:
    state = torch.load(file, weights_only=True)
    del state["classifier.1.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"does not hold the weights of NIMA on VGG-16 \(classifier.1.bias\)"):
        load_nima(tmp_path / "less.pth")
