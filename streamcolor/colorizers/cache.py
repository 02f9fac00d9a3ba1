"""What a colorizer remembers: references for good, recent frames under a cap.

The cache knows bytes, ages and frame numbers, never a network. Rules of eviction:

1. The permanent tier (references) is never evicted; it is emptied only by ``start_shot``.
2. The rolling tier keeps the ``recent`` newest entries, and of the older ones those whose frame number
   is a multiple of ``every``, the newest ``older`` of them.
3. When both tiers together exceed the byte cap, the oldest rolling entry goes first; the newest stays.

A snapshot is one safetensors blob: nothing executable, equal caches give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamcolor.errors import InputError

if TYPE_CHECKING:
    import torch

DEFAULT_CAP = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Entry:
    """Tensors that a model keeps of one reference or frame; ``frame`` is its number in the film or None."""

    tensors: Mapping[str, torch.Tensor]
    frame: int | None = None

    @property
    def nbytes(self) -> int:
        return sum(t.element_size() * t.nelement() for t in self.tensors.values())


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Which rolling entries stay: the ``recent`` newest, then every ``every``-th, ``older`` of them."""

    recent: int = 1
    every: int = 5
    older: int = 0


class ReferenceCache:
    """Two tiers of entries under one byte cap (bytes; see the module's rules)."""

    def __init__(self, policy: CachePolicy | None = None, *, cap: int = DEFAULT_CAP) -> None:
        self.policy = policy or CachePolicy()
        self.cap = cap
        self._permanent: list[Entry] = []
        self._rolling: list[Entry] = []

    @property
    def permanent(self) -> tuple[Entry, ...]:
        """Entries of the references in the order in which they were added."""
        return tuple(self._permanent)

    @property
    def rolling(self) -> tuple[Entry, ...]:
        """Entries of earlier frames, oldest first."""
        return tuple(self._rolling)

    @property
    def nbytes(self) -> int:
        return sum(e.nbytes for e in (*self._permanent, *self._rolling))

    def start_shot(self, references: Iterable[Entry]) -> None:
        """Replace the references; forget the recent frames."""
        self._permanent = list(references)
        self._rolling = []
        self._evict()

    def add_reference(self, entry: Entry) -> None:
        """Add a reference to the shot that is running."""
        self._permanent.append(entry)
        self._evict()

    def remember(self, entry: Entry) -> None:
        """Put the entry of the frame just colored into the rolling tier and evict by rule."""
        if entry.frame is None:
            raise ValueError("a rolling entry needs the number of its frame")
        self._rolling.append(entry)
        self._evict()

    def _evict(self) -> None:
        policy = self.policy
        split = max(len(self._rolling) - policy.recent, 0)
        older = [e for e in self._rolling[:split] if e.frame is not None and e.frame % policy.every == 0]
        kept = older[len(older) - min(policy.older, len(older)) :] + self._rolling[split:]
        while len(kept) > 1 and sum(e.nbytes for e in (*self._permanent, *kept)) > self.cap:
            kept.pop(0)
        self._rolling = kept

    def snapshot(self) -> bytes:
        """Everything needed to go on from here, as one safetensors blob."""
        from safetensors.torch import save

        tensors: dict[str, torch.Tensor] = {}
        frames: dict[str, list[int | None]] = {}
        for tier, entries in (("permanent", self._permanent), ("rolling", self._rolling)):
            frames[tier] = [e.frame for e in entries]
            for number, entry in enumerate(entries):
                for name, tensor in entry.tensors.items():
                    # safetensors refuses shared memory: entries may share a tensor, blobs do not.
                    tensors[f"{tier}/{number:06d}/{name}"] = tensor.detach().cpu().contiguous().clone()
        policy = [self.policy.recent, self.policy.every, self.policy.older]
        return save(tensors, {"cache": json.dumps({"frames": frames, "policy": policy, "cap": self.cap})})

    @classmethod
    def restore(cls, blob: bytes, device: str | torch.device = "cpu") -> ReferenceCache:
        """The cache that ``snapshot`` wrote. Raises InputError when the blob is not one."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            tensors = load(blob)
            header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
            state = json.loads(header["__metadata__"]["cache"])
            cache = cls(CachePolicy(*state["policy"]), cap=int(state["cap"]))
            tiers = {"permanent": cache._permanent, "rolling": cache._rolling}
            for tier, entries in tiers.items():
                for number, frame in enumerate(state["frames"][tier]):
                    prefix = f"{tier}/{number:06d}/"
                    held = {k[len(prefix) :]: t.to(device) for k, t in tensors.items() if k.startswith(prefix)}
                    entries.append(Entry(held, frame))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise InputError("this is not a cache snapshot of streamcolor, or it is damaged") from error
        return cache
