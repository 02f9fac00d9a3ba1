"""LPIPS and FID on backbones of random weights, which have the names and sizes of the published files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as torchmetrics_lpips
from scipy.linalg import sqrtm
from torchmetrics.image.fid import FrechetInceptionDistance

from streamcolor.errors import InputError
from streamcolor.evaluation.backbones import FILES, STACKS, Stack, load_stack
from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.inception import FEATURES, FidInception, load_inception
from streamcolor.evaluation.perceptual import (
    FidMeasure,
    Lpips,
    LpipsMeasure,
    Moments,
    build_lpips,
    find_heads,
    frechet_distance,
    load_heads,
)

# Channels that LPIPS sees, and parameters of the convolutions of torchvision's models.
SIZES = {
    "alex": ([64, 192, 384, 256, 256], 2_469_696),
    "vgg": ([64, 128, 256, 512, 512], 14_714_688),
    "squeeze": ([64, 128, 256, 384, 384, 512, 512], 722_496),
}


def write_backbone(folder: Path, net: str) -> Path:
    """As torchvision writes it, with a classifier behind."""
    torch.manual_seed(0)
    state = Stack(*_stack(net)).state_dict() | {"classifier.1.weight": torch.zeros(10, 4)}
    torch.save(state, folder / FILES[net])
    return folder / FILES[net]


def _stack(net: str) -> tuple[torch.nn.Sequential, tuple[int, ...]]:
    build, taps = STACKS[net]
    return build(), taps


def write_heads(path: Path, net: str) -> Path:
    torch.manual_seed(1)
    torch.save({f"lin{n}.model.1.weight": torch.rand(1, c, 1, 1) for n, c in enumerate(SIZES[net][0])}, path)
    return path


def pictures(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def pair(number: int, truth: np.ndarray, output: np.ndarray) -> Pair:
    return Pair(number, truth, output, truth, truth[..., 0], truth[..., 0], number > 0)


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_is_a_distance(net: str, tmp_path: Path) -> None:
    held, stack = load_stack(write_backbone(tmp_path, net))
    channels, parameters = SIZES[net]
    assert held == net and sum(p.numel() for p in stack.parameters()) == parameters
    lpips = build_lpips(stack, write_heads(tmp_path / "heads.pth", net))
    assert [head.shape[1] for head in lpips.heads] == channels
    rng = torch.Generator().manual_seed(2)
    a = torch.rand(1, 3, 64, 80, generator=rng) * 2 - 1
    noise = torch.randn(a.shape, generator=rng)
    with torch.inference_mode():
        far = [float(lpips(a, a + size * noise)) for size in (0, 0.05, 0.2, 0.8)]
        assert float(lpips(a + 0.2 * noise, a)) == pytest.approx(far[2], rel=1e-5)
    assert far[0] == 0 and far == sorted(far) and far[1] > 0


def test_lpips_is_the_sum_written_out() -> None:
    """Zhang et al. 2018, equation 1, in loops, on a backbone of two layers."""
    torch.manual_seed(0)
    first, second = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 3, stride=2)
    stack = Stack(torch.nn.Sequential(first, torch.nn.ReLU(), second), (1, 2))
    heads = [torch.rand(1, 4, 1, 1), torch.rand(1, 2, 1, 1)]
    a, b = torch.rand(2, 1, 3, 9, 11) * 2 - 1
    with torch.inference_mode():
        found = float(Lpips(stack, heads)(a, b))
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        seen = []
        for x in (a, b):
            y = torch.relu(first((x - shift.view(1, 3, 1, 1)) / scale.view(1, 3, 1, 1)))
            seen.append([y[0].double().numpy(), second(y)[0].double().numpy()])
    total = 0.0
    for one, other, head in zip(*seen, heads, strict=True):
        height, width = one.shape[1:]
        for y in range(height):
            for x in range(width):
                u = one[:, y, x] / (np.linalg.norm(one[:, y, x]) + 1e-10)
                v = other[:, y, x] / (np.linalg.norm(other[:, y, x]) + 1e-10)
                total += float((head.numpy().ravel() * (u - v) ** 2).sum()) / (height * width)
    assert found == pytest.approx(total, rel=1e-5)


# The learned layers of LPIPS 0.1 as torchmetrics ships them; they were saved on a GPU.
PUBLISHED = Path(torchmetrics_lpips.__file__).parent / "lpips_models"


@pytest.mark.parametrize("net", ["alex", "vgg", "squeeze"])
def test_lpips_is_that_of_torchmetrics(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a random backbone, which torchmetrics would ask torchvision for, with the published learned layers."""
    _, stack = load_stack(write_backbone(tmp_path, net))
    lpips = build_lpips(stack, PUBLISHED / f"{net}.pth")
    monkeypatch.setattr(torchmetrics_lpips, "_get_tv_model_features", lambda name, pretrained: stack.features)
    theirs = torchmetrics_lpips._LPIPS(net=net)
    a, b = torch.rand(2, 3, 3, 64, 80, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.inference_mode():
        found, expected = lpips(a, b), theirs(a, b).flatten()
    # It divides by sqrt(|x|^2 + 1e-8), the published code and this one by |x| + 1e-10.
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert found.min() > 1e-4


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_learned_layers_are_not_negative(value: float, tmp_path: Path) -> None:
    heads = torch.load(write_heads(tmp_path / "heads.pth", "alex"), weights_only=True)
    heads["lin2.model.1.weight"][0, 7] = value
    torch.save(heads, tmp_path / "heads.pth")
    with pytest.raises(InputError, match=r"learned layers of LPIPS \(lin2"):
        load_heads(tmp_path / "heads.pth", SIZES["alex"][0])


def test_the_measure_counts_compared_frames_and_leaves_small_clips(tmp_path: Path) -> None:
    _, stack = load_stack(write_backbone(tmp_path, "squeeze"))
    measure = LpipsMeasure("squeeze", build_lpips(stack, write_heads(tmp_path / "h.pth", "squeeze")), "cpu")
    for number in range(3):
        # A wrong reference and a wrong frame that is not among every eighth change nothing.
        measure.add(pair(number, pictures(0), pictures(0) if number == 1 else pictures(1)))
    assert measure.end_clip() == {"lpips_squeeze": 0}
    for number in range(2):
        measure.add(pair(number, pictures(0), pictures(1)))
    assert (measure.end_clip()["lpips_squeeze"] or 0) > 0
    for number in range(2):
        measure.add(pair(number, pictures(0, 40, 128), pictures(1, 40, 128)))
    assert measure.end_clip() == {"lpips_squeeze": None}


def test_the_heads_are_found_without_importing_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lpips"
    (package / "weights" / "v0.1").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    heads = write_heads(package / "weights" / "v0.1" / "alex.pth", "alex")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    assert find_heads("alex") == heads and find_heads("vgg") is None
    assert "lpips" not in sys.modules


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*gone\.pth"):
        load_stack(tmp_path / "gone.pth")
    (tmp_path / "notes.pth").write_text("not weights " * 50)
    (tmp_path / "empty.pth").touch()
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(torch.nn.ReLU(), tmp_path / "module.pth")
    for name, says in (
        ("notes", "not a PyTorch checkpoint"),
        ("empty", "not a PyTorch checkpoint"),
        ("list", "not a PyTorch checkpoint"),
        ("module", "not a PyTorch checkpoint"),
        ("other", "neither AlexNet, VGG-16 nor SqueezeNet"),
    ):
        with pytest.raises(InputError, match=rf"{name}\.pth.* {says}"):
            load_stack(tmp_path / f"{name}.pth")
    with pytest.raises(InputError, match=r"other\.pth does not hold the weights of pytorch-fid's"):
        load_inception(tmp_path / "other.pth")
    state = Stack(*_stack("alex")).state_dict()
    state["features.3.bias"][5] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match=r"nan\.pth does not hold .*not finite"):
        load_stack(tmp_path / "nan.pth")
    _, stack = load_stack(write_backbone(tmp_path, "alex"))
    with pytest.raises(InputError, match="learned layers"):
        build_lpips(stack, write_heads(tmp_path / "h.pth", "squeeze"))


@pytest.mark.parametrize("count", [200, 12])
def test_frechet_distance_is_that_of_scipy(count: int) -> None:
    """Also with fewer vectors than dimensions, where the product of the covariances has no full rank."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count, 20)), rng.normal(1, 1, (count, 20)) @ rng.normal(size=(20, 20))
    one, other = Moments(20), Moments(20)
    for start in range(0, count, 7):
        one.add(x[start : start + 7])
        other.add(y[start : start + 7])
    np.testing.assert_allclose(one.factor() @ one.factor().T, np.cov(x, rowvar=False), atol=1e-12)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    apart = np.square(x.mean(0) - y.mean(0)).sum()
    expected = apart + np.trace(c1 + c2) - 2 * np.trace(sqrtm(c1 @ c2)).real
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(other, one) == pytest.approx(frechet_distance(one, other), rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


class Flatten(torch.nn.Module):
    """The first values of a picture as features."""

    num_features = 20

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flatten(1)[:, : self.num_features]


def test_frechet_distance_is_that_of_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 3, 4, 4)), rng.random((50, 3, 4, 4)) ** 2
    theirs = FrechetInceptionDistance(feature=Flatten(), normalize=True, input_img_size=(3, 4, 4)).set_dtype(
        torch.float64
    )
    one, other = Moments(20), Moments(20)
    for moments, pictures, real in ((one, x, True), (other, y, False)):
        theirs.update(torch.from_numpy(pictures), real=real)
        moments.add(pictures.reshape(50, -1)[:, :20])
    assert frechet_distance(one, other) == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with random weights under pytorch-fid's names; it counts no batches and has a classifier."""
    torch.manual_seed(0)
    network = FidInception()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    state = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    path = tmp_path_factory.mktemp("inception") / "fid.pth"
    torch.save(state | {"fc.weight": torch.zeros(1008, FEATURES), "fc.bias": torch.zeros(1008)}, path)
    return path


@pytest.fixture(scope="module")
def network(inception: Path) -> FidInception:
    return load_inception(inception)


def test_inception_has_the_size_of_the_published_one(network: FidInception) -> None:
    # torchvision's Inception3 without auxiliary classifier: 23,834,568 with a classifier of 1000.
    assert sum(p.numel() for p in network.parameters()) == 23_834_568 - 2048 * 1000 - 1000
    with torch.inference_mode():
        seen = network(torch.rand(1, 3, 40, 60))
    assert seen.shape == (1, FEATURES) and seen.std() > 0


def test_fid_is_over_all_clips(network: FidInception) -> None:
    measure = FidMeasure(network, "cpu")
    assert measure.pooled() == {"fid": None, "fid_frames": 0}
    for clip in range(2):
        # Wrong frames that are references or not among every eighth change nothing.
        measure.add(pair(0, pictures(clip), pictures(9)))
        measure.add(pair(1, pictures(clip), pictures(clip)))
        measure.add(pair(2, pictures(clip), pictures(9)))
        assert measure.end_clip() == {}
    figures = measure.pooled()
    assert figures["fid"] == pytest.approx(0, abs=1e-3) and figures["fid_frames"] == 2
    measure.add(pair(1, pictures(5), np.zeros((96, 128, 3), np.uint8)))
    assert (measure.pooled()["fid"] or 0) > 0.01
