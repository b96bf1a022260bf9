"""What styles are, kept: a style that many renders share is looked at once at each size.

What is kept is, bit for bit, what would be computed anew, so a render does not depend on what was
rendered before it, nor on the process it goes on in. That is why the key has everything that changes how
numbers are rounded: the device, whether the network runs in strips, even the number of threads.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from stylize.losses.style import Statistics
from stylize.network.features import ForwardOptions
from stylize.network.vgg19 import VGG19
from stylize.recipe import Recipe

Targets = Mapping[str, Statistics]
"""The statistics of one style at every style layer, (1, 1, ...). Nobody changes them."""

MOST_BYTES = 128 * 2**20
"""The Gram matrices of five layers take 2.4 MB, so this is some 13 styles at four sizes each; the
statistics of the Wasserstein loss take the same."""


class TargetCache:
    """The targets used last, up to so many bytes of them. Any thread may ask."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._cached: OrderedDict[Hashable, Targets] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        """Of what is kept."""

    def get(self, key: Hashable, measure: Callable[[], Targets]) -> Targets:
        """What is kept under ``key``, or what ``measure`` returns, which is kept from now on."""
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        # Without the lock: this is the work. Two who do the same work at once come to the same.
        targets = measure()
        with self._lock:
            if key not in self._cached:
                self._cached[key] = targets
                self.bytes += _size(targets)
            while self.bytes > self._most:
                _, evicted = self._cached.popitem(last=False)
                self.bytes -= _size(evicted)
        return targets

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._cached.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._cached)


SHARED = TargetCache()
"""This process's."""


def target_key(
    network: VGG19, recipe: Recipe, options: ForwardOptions, style_13HW: Tensor
) -> Hashable:
    """Equal where a look at a style comes to the same statistics, bit for bit.

    The pixels are those that are analysed, not those of the file: they are fewer, and the recipe's say
    in them (size, proportions, colours) is in them.
    """
    return (
        _pixels(style_13HW),
        style_13HW.shape,
        style_13HW.dtype,
        str(style_13HW.device),
        # A network without a digest is only itself; a reference is equal to that of no later one.
        network.digest or weakref.ref(network),
        network.space,
        network.conv1_1_weight.dtype,
        options,
        tuple(recipe.style_layers),
        recipe.style_loss,
        recipe.gram,
        # How sums are split up, and whether float32 is all of float32.
        torch.get_num_threads(),
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
    )


def _pixels(x: Tensor) -> bytes:
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().data).digest()


def _size(targets: Targets) -> int:
    return sum(t.numel() * t.element_size() for layer in targets.values() for t in layer)
