"""Networks that others trained, as feature extractors for metrics; their weights come from files the user names.

Parameters have the names of torchvision's models, so its files load as they are. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcolor.errors import InputError

State = dict[str, Tensor]

# Names of torchvision's files (https://download.pytorch.org/models/) by the name that LPIPS gives the network.
FILES = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}


class Fire(nn.Module):
    """SqueezeNet's module: 1 x 1 to ``squeeze`` channels, then 1 x 1 and 3 x 3 to ``expand`` channels each."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 2 expand, H, W)."""
        squeezed = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(squeezed)), torch.relu(self.expand3x3(squeezed))], 1)


def alexnet() -> nn.Sequential:
    """AlexNet (Krizhevsky 2014, "one weird trick"), convolutions only."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    )


def vgg16() -> nn.Sequential:
    """VGG-16 (Simonyan & Zisserman 2014, configuration D), convolutions only."""
    layers: list[nn.Module] = []
    channels = 3
    for number, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        layers += [nn.MaxPool2d(2)] if number else []
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


def squeezenet() -> nn.Sequential:
    """SqueezeNet 1.1 (Iandola et al. 2016 and its repository), without the classifier."""
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
    )


# The network, and the layers after which LPIPS looks at it.
STACKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "alex": (alexnet, (1, 4, 7, 9, 11)),
    "vgg": (vgg16, (3, 8, 15, 22, 29)),
    "squeeze": (squeezenet, (1, 4, 7, 9, 10, 11, 12)),
}


class Stack(nn.Module):
    """Layers one after the other, looked at after some of them."""

    def __init__(self, features: nn.Sequential, taps: Sequence[int]) -> None:
        super().__init__()
        self.features = features
        self.taps = frozenset(taps)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to what is seen at the taps, (N, C, h, w) each."""
        seen = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self.taps:
                seen.append(x)
        return seen


def read_state(path: Path) -> State:
    """Tensors of a PyTorch checkpoint, by name. Raises InputError for what is not one."""
    if not path.is_file():
        raise InputError(f"there is no file {path} with weights")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load raises whatever it stumbles over, from UnpicklingError to KeyError.
    except Exception as error:
        raise InputError(f"{path.name} is not a PyTorch checkpoint of weights alone; name a state dict file") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path.name} is not a PyTorch checkpoint of weights alone; name a state dict file")
    return state


def fit(module: nn.Module, state: State, path: Path, what: str) -> None:
    """Load ``state`` into ``module``, which is then frozen. Raises InputError when names or sizes differ."""
    # Files from before 2018 do not count batches.
    wanted = {name: t for name, t in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    wrong = [name for name, t in wanted.items() if name not in state or state[name].shape != t.shape]
    if wrong or not all(torch.isfinite(state[name]).all() for name in wanted):
        raise InputError(f"{path.name} does not hold the weights of {what} ({wrong[0] if wrong else 'not finite'})")
    module.load_state_dict({name: state[name] for name in wanted}, strict=False)
    module.eval().requires_grad_(False)


def load_stack(path: Path) -> tuple[str, Stack]:
    """Which of ``STACKS`` a file of torchvision's holds, and that network. Raises InputError for another file."""
    state = read_state(path)
    held = {name: t.shape for name, t in state.items() if name.startswith("features.")}
    for net, (build, taps) in STACKS.items():
        stack = Stack(build(), taps)
        if {name: t.shape for name, t in stack.state_dict().items()} == held:
            fit(stack, state, path, net)
            return net, stack
    raise InputError(f"{path.name} holds neither AlexNet, VGG-16 nor SqueezeNet 1.1 with torchvision's names")
