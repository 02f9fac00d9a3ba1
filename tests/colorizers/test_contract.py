"""Every model of the registry keeps the one contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.colorizers.attention_exemplar import AttentionExemplar
from streamcolor.colorizers.attention_exemplar.network import AttentionExemplarNetwork
from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork
from streamcolor.colorizers.contract import Colorizer
from streamcolor.colorizers.prior import ChromaPrior, shipped_network
from streamcolor.colorizers.propagator import PropagatorBig
from streamcolor.colorizers.propagator.encoder import BIG
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.registry import MODELS, choose_device, create, find
from streamcolor.colorizers.stable import StableColorizer, UnetBasic
from streamcolor.colorizers.stable.network import StableColorizerNetwork, UnetBasicNetwork
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.network import StylizationNetwork
from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.attention import AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.errors import CallError, DeviceError, InputError

from scenes import SIZE, pictures, reference, small_prior

# Models that have no weights here keep the contract with random ones; they cannot be asked for colors.
UNTRAINED: dict[str, Callable[[], Colorizer]] = {
    "propagator-b": lambda: PropagatorBig.around(PropagatorNetwork(BIG).eval(), shipped_network()),
    "chroma-prior": lambda: ChromaPrior.around(small_prior()),
    "unet-basic": lambda: UnetBasic.around(UnetBasicNetwork().eval()),
    "agin": lambda: Agin.around(AginNetwork(8).eval()),
    "attention-exemplar": lambda: AttentionExemplar.around(AttentionExemplarNetwork(width=8).eval()),
    "stylization": lambda: Stylization.around(StylizationNetwork(4).eval()),
    "resnet-cnn": lambda: ResnetCnn.around(ResnetCnnNetwork(width=8).eval()),
    "cnn-classifier": lambda: CnnClassifier.around(ClassifierNetwork(width=8, side=64).eval()),
    "unet-gan": lambda: UnetGan.around(UnetGanNetwork(width=8, depth=5).eval()),
    "attention-unet-gan": lambda: AttentionUnetGan.around(AttentionUnetGanNetwork(width=8).eval()),
    "stable-colorizer": lambda: StableColorizer.around(StableColorizerNetwork().eval()),
}
IDS = [model.id for model in MODELS if model.kind == "colorizer"]
# Those that bring a reference's own colors, by method or by shipped weights; the others are tried with random weights.
READY = [model.id for model in MODELS if not model.trained or model.id == "propagator"]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def made(model_id: str) -> Colorizer:
    torch.manual_seed(0)
    return UNTRAINED[model_id]() if model_id in UNTRAINED else create(model_id)


def test_every_model_without_weights_is_made_here() -> None:
    assert set(UNTRAINED) == set(IDS) - set(READY)


def color_all(colorizer: Colorizer, frames: list[torch.Tensor], cache: ReferenceCache) -> list[torch.Tensor]:
    result = []
    for number, lightness in enumerate(frames):
        chroma, entry = colorizer.step(lightness, cache, number)
        if entry is not None:
            cache.remember(entry)
        result.append(chroma.ab)
    return result


def filled(colorizer: Colorizer, frames: list[torch.Tensor]) -> ReferenceCache:
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frames[0]))])
    return cache


@pytest.mark.parametrize("model_id", IDS)
def test_shapes_and_ranges(model_id: str) -> None:
    colorizer = made(model_id)
    frames = pictures(3)
    cache = filled(colorizer, frames)
    chroma, _ = colorizer.step(frames[0], cache, 0)
    assert chroma.ab.ndim == 3 and chroma.ab.shape[0] == 2
    assert SIZE[0] % chroma.ab.shape[1] == 0 and SIZE[1] % chroma.ab.shape[2] == 0
    assert chroma.confidence.shape == (1, *chroma.ab.shape[1:])
    assert chroma.ab.dtype == chroma.confidence.dtype == torch.float32
    assert chroma.ab.abs().max() <= 110
    assert chroma.confidence.min() >= 0 and chroma.confidence.max() <= 1
    assert colorizer.info.id == model_id and find(model_id).references == colorizer.info.references


@pytest.mark.parametrize("model_id", IDS)
def test_step_changes_neither_cache_nor_model(model_id: str) -> None:
    colorizer = made(model_id)
    frames = pictures(3)
    cache = filled(colorizer, frames)
    color_all(colorizer, frames[:2], cache)
    before = cache.snapshot()
    first, _ = colorizer.step(frames[2], cache, 2)
    second, _ = colorizer.step(frames[2], cache, 2)
    assert cache.snapshot() == before
    assert torch.equal(first.ab, second.ab) and torch.equal(first.confidence, second.confidence)


@pytest.mark.parametrize("model_id", IDS)
def test_a_snapshot_goes_on_as_if_nothing_had_happened(model_id: str) -> None:
    frames = pictures(9)
    whole = made(model_id)
    expected = color_all(whole, frames, filled(whole, frames))
    first = made(model_id)
    cache = filled(first, frames)
    color_all(first, frames[:6], cache)
    elsewhere, moved = made(model_id), ReferenceCache.restore(cache.snapshot())
    for number in range(6, 9):
        chroma, entry = elsewhere.step(frames[number], moved, number)
        if entry is not None:
            moved.remember(entry)
        assert torch.equal(chroma.ab, expected[number])


@pytest.mark.parametrize("model_id", READY)
def test_a_reference_that_arrives_in_the_middle_of_a_shot_is_heard(model_id: str) -> None:
    colorizer = made(model_id)
    frames = pictures(6)
    cache = ReferenceCache(colorizer.info.policy)
    color_all(colorizer, frames[:3], cache)
    guide = reference(frames[4], 4)
    cache.add_reference(colorizer.encode(guide))
    chroma = color_all(colorizer, frames[3:5], cache)[-1]
    truth = torch.nn.functional.adaptive_avg_pool2d(guide.ab[0], chroma.shape[1:])
    assert (chroma - truth).norm(dim=0).mean() < 0.6 * truth.norm(dim=0).mean()


@pytest.mark.parametrize("model_id", IDS)
def test_memory_stays_bounded(model_id: str) -> None:
    colorizer = made(model_id)
    frames = pictures(30)
    cache = filled(colorizer, frames)
    sizes = []
    for number, lightness in enumerate(frames):
        _, entry = colorizer.step(lightness, cache, number)
        if entry is not None:
            cache.remember(entry)
        sizes.append(cache.nbytes)
    assert max(sizes[15:]) == max(sizes)
    assert max(sizes) <= max(sizes[:15])


@pytest.mark.parametrize("model_id", IDS)
def test_without_a_reference_colors_are_guesses_or_grey(model_id: str) -> None:
    colorizer = made(model_id)
    chroma, _ = colorizer.step(pictures(1)[0], ReferenceCache(colorizer.info.policy), 0)
    assert torch.isfinite(chroma.ab).all()
    assert chroma.confidence.mean() < 0.6


def test_wrong_names_are_refused_with_a_hint() -> None:
    with pytest.raises(CallError, match="did you mean 'propagator'"):
        create("propagater")
    with pytest.raises(CallError, match="welsh"):
        create("xyz")
    with pytest.raises(CallError, match="no device"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="cuda"):
            choose_device("cuda")


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="does not hold the weights of propagator"):
        create("propagator", weights=file)
    with pytest.raises(CallError, match="has no weights"):
        create("flow", weights=file)
    with pytest.raises(InputError, match="no folder of a training run"):
        create("propagator", weights=tmp_path)
    with pytest.raises(InputError, match="streamcolor train agin"):
        create("agin")


def test_precision_is_checked(tmp_path: Path) -> None:
    with pytest.raises(CallError, match="no precision 'fp8'"):
        create("propagator", precision="fp8")
    with pytest.raises(DeviceError, match="no fp16"):
        create("propagator", precision="fp16")
    assert getattr(create("propagator", precision="bf16"), "precision", None) == "bf16"


@pytest.mark.parametrize(
    ("here", "chosen"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")]
)
def test_bf16_is_chosen_where_the_processor_has_it(
    here: dict[str, bool], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: here, raising=False)
    assert getattr(create("propagator", precision="auto"), "precision", None) == chosen
    assert getattr(create("stable-colorizer", precision="auto"), "precision", None) == "fp32"
