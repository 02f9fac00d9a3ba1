"""The stable family: the published sizes, what a reference does, films of any size, export."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.registry import create
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.stable import StableColorizer, UnetBasic
from streamcolor.colorizers.stable.network import (
    AutoencoderNetwork,
    Encoder,
    Space,
    StableColorizerNetwork,
    UnetBasicNetwork,
)
from streamcolor.errors import CallError, InputError

from scenes import color_any_size, pictures, reference


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def unsettled(network: nn.Module) -> nn.Module:
    """With batch statistics as after training, not those of the first moment, and outputs around grey."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.02, 0.1)
    return network.eval().requires_grad_(False)


def colorizer(model_id: str, *, stabilize: bool = True, space: Space = "rgb") -> FrameWise:
    if model_id == "unet-basic":
        return UnetBasic.around(unsettled(UnetBasicNetwork(space)), stabilize=stabilize)
    return StableColorizer.around(unsettled(StableColorizerNetwork(space)), stabilize=stabilize)


def count(network: nn.Module, *, trainable: bool = False) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trainable)


@pytest.mark.parametrize(
    ("network", "total", "trainable"),
    [
        (Encoder(), 65_952, 65_952),
        (AutoencoderNetwork(), 131_721, 131_721),
        (UnetBasicNetwork(), 177_132, 177_132),
        (StableColorizerNetwork(), 309_452, 243_500),
        # One channel of film instead of three, two of color: 576 weights less at the start, 40 at the end.
        (UnetBasicNetwork("lab"), 176_516, 176_516),
        (StableColorizerNetwork("lab"), 308_836, 242_884),
        (AutoencoderNetwork("lab"), 131_721, 131_721),
    ],
)
def test_the_published_numbers_of_parameters(network: nn.Module, total: int, trainable: int) -> None:
    assert count(network) == total
    assert count(network, trainable=True) == trainable


def test_parts_of_the_stable_colorizer_have_their_sizes() -> None:
    network = StableColorizerNetwork()
    assert count(network.attention) == 16_640
    assert [count(p) for p in (network.adapt_reference, network.adapt_query, network.adapt_found)] == [4_288] * 3
    assert count(network.encoder) + count(network.decoder) == 213_996


def test_every_layer_has_the_size_that_was_written_down() -> None:
    def sizes(network: nn.Module) -> list[int]:
        return [sum(p.numel() for p in part.parameters()) for part in network.children()]

    assert sizes(Encoder()) == [960, 9_312, 18_624, 37_056]
    decoder = AutoencoderNetwork().decoder
    assert sizes(decoder) == [37_056, 18_528, 9_312, 873] and sum(sizes(decoder)) == 65_769
    assert sizes(UnetBasicNetwork().decoder) == [37_056, 36_960, 18_528, 18_528, 108]
    assert sizes(StableColorizerNetwork().decoder)[0] == 73_920


def test_shapes_at_256() -> None:
    features = Encoder()(torch.rand(1, 3, 256, 256))
    assert [tuple(f.shape[1:]) for f in features] == [(32, 128, 128), (32, 64, 64), (64, 32, 32), (64, 16, 16)]


@pytest.mark.parametrize("size", [(256, 256), (272, 320)])
def test_what_comes_out_has_the_size_of_the_film(size: tuple[int, int]) -> None:
    film, other = torch.rand(1, 3, *size), torch.rand(1, 3, 128, 192)
    assert UnetBasicNetwork()(film).shape == AutoencoderNetwork()(film).shape == film.shape
    assert StableColorizerNetwork()(film, other).shape == film.shape
    assert StableColorizerNetwork("lab")(film[:, :1], other).shape == (1, 2, *size)
    assert UnetBasicNetwork("lab")(film[:, :1]).shape == (1, 2, *size)


def test_attention_knows_no_positions() -> None:
    network = unsettled(StableColorizerNetwork())
    film, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    tokens, sought = network.tokens(other), torch.rand(1, 16, 64)
    mixed = tokens[:, torch.randperm(tokens.shape[1])]
    found, again = (network.attention(sought, t, t, need_weights=False)[0] for t in (tokens, mixed))
    torch.testing.assert_close(found, again, atol=1e-5, rtol=0)
    assert (network(film, other) - network(film, 1 - other)).abs().max() > 1e-3


def test_training_leaves_the_reference_encoder_as_it_is() -> None:
    network = StableColorizerNetwork()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(3):
        network.train()
        loss = network(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = network.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "reference_encoder" not in changed
    assert changed == {"encoder", "adapt_reference", "adapt_query", "adapt_found", "attention", "decoder"}


@pytest.mark.parametrize("model_id", ["unet-basic", "stable-colorizer"])
@pytest.mark.parametrize("size", [(64, 96), (45, 71), (17, 31), (3, 40), (1, 1)])
def test_films_of_any_size(model_id: str, size: tuple[int, int]) -> None:
    color_any_size(colorizer(model_id), size)


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_only_the_stable_colorizer_listens_to_its_references(space: Space) -> None:
    here = pictures(1)[0]
    warm = reference(here)
    cold = Reference(warm.lightness, -warm.ab, warm.opaque, 0)
    for model_id, listens in (("unet-basic", False), ("stable-colorizer", True)):
        made = colorizer(model_id, space=space)
        first, second = (made.color(here, [made.encode(guide)]) for guide in (warm, cold))
        none = made.color(here, [])
        assert (not torch.equal(first.ab, second.ab)) is listens
        assert (not torch.equal(first.ab, none.ab)) is listens
        assert made.info.references is listens


def test_a_reference_is_encoded_once_and_that_changes_nothing() -> None:
    made = colorizer("stable-colorizer")
    frames = pictures(2)
    entry = made.encode(reference(frames[0]))
    assert entry.tensors["tokens"].shape == (1, 4 * 6, 64)
    cached = [made.color(frame, [entry]).ab for frame in frames]
    anew = [made.color(frame, [made.encode(reference(frames[0]))]).ab for frame in frames]
    for one, other in zip(cached, anew, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("model_id", ["unet-basic", "stable-colorizer"])
def test_mixed_precision_is_near(model_id: str) -> None:
    here = pictures(1)[0]
    exact = colorizer(model_id)
    mixed = type(exact).around(exact.network, "cpu", "bf16")
    colors = []
    for made in (exact, mixed):
        cache = ReferenceCache(made.info.policy)
        cache.start_shot([made.encode(reference(here))])
        chroma, _ = made.step(here, cache, 0)
        assert chroma.ab.dtype == torch.float32
        colors.append(chroma.ab)
    assert 0 < (colors[0] - colors[1]).abs().mean() < 2


def test_several_references_are_one_longer_one_and_transparent_parts_say_nothing() -> None:
    made = colorizer("stable-colorizer")
    frames = pictures(3)
    one, two = (made.encode(reference(frame)) for frame in frames[:2])
    forth, back = made.color(frames[2], [one, two]).ab, made.color(frames[2], [two, one]).ab
    torch.testing.assert_close(forth, back, atol=2e-3, rtol=0)
    assert (forth - made.color(frames[2], [one]).ab).abs().max() > 1e-3
    half = reference(frames[0])
    half.opaque[..., :48] = 0
    assert made.encode(half).tensors["tokens"].shape[1] == 12
    half.opaque[:] = 0
    assert made.encode(half).tensors["tokens"].shape[1] == 24


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_weights_come_from_a_file_that_fits(tmp_path: Path, space: Space) -> None:
    network = unsettled(StableColorizerNetwork(space))
    file = tmp_path / "w.safetensors"
    save_file(network.state_dict(), file)
    here = pictures(1)[0]
    made = create("stable-colorizer", weights=file)
    cache = ReferenceCache(made.info.policy)
    cache.start_shot([made.encode(reference(here))])
    chroma, _ = made.step(here, cache, 0)
    direct = StableColorizer.around(network)
    assert torch.equal(chroma.ab, direct.color(here, [direct.encode(reference(here))]).ab)
    with pytest.raises(InputError, match=r"does not hold the weights of unet-basic: \d+ do not fit, adapt_found"):
        create("unet-basic", weights=file)
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="does not hold the weights of stable-colorizer"):
        create("stable-colorizer", weights=file)
    for model_id in ("unet-basic", "stable-colorizer"):
        assert create(model_id).info.id == model_id
    with pytest.raises(CallError, match="backbone"):
        create("autoencoder", weights=file)


INPUTS: dict[type[nn.Module], list[Tensor]] = {
    AutoencoderNetwork: [torch.rand(1, 3, 48, 64)],
    UnetBasicNetwork: [torch.rand(1, 3, 48, 64)],
    StableColorizerNetwork: [torch.rand(1, 3, 48, 64), torch.rand(1, 3, 32, 80)],
}


@pytest.mark.parametrize("kind", INPUTS)
def test_torchscript_agrees(kind: type[nn.Module]) -> None:
    network, inputs = unsettled(kind()), INPUTS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, tuple(inputs))
    larger = [torch.rand(1, 3, 80, 96) for _ in inputs]
    for given in (inputs, larger):
        torch.testing.assert_close(traced(*given), network(*given), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", INPUTS)
def test_onnx_agrees(kind: type[nn.Module], tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    network, inputs = unsettled(kind()), INPUTS[kind]
    file = tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, tuple(inputs), str(file), dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    result = session.run(None, dict(zip(names, (t.numpy() for t in inputs), strict=True)))[0]
    torch.testing.assert_close(torch.from_numpy(result), network(*inputs), atol=1e-3, rtol=0)
