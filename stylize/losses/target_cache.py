"""A cache of style statistics: a style that many renders share is analysed once at each size.

A cached value equals a newly computed one bit for bit, so a render depends neither on the renders before
it nor on the process that resumes it. The key therefore has everything that changes how numbers are
rounded: the device, whether the network runs in strips, even the number of threads.
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
"""The statistics of one style at every style layer, each (1, 1, ...). They are never changed."""

MOST_BYTES = 128 * 2**20
"""The capacity of a cache, in bytes: about 13 styles at four sizes each, since the Gram matrices of five
layers take 2.4 MB. The statistics of the Wasserstein loss take the same."""


class TargetCache:
    """The most recently used targets, up to a number of bytes. Thread-safe.

    Args:
        most_bytes: The capacity, in bytes.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._cached: OrderedDict[Hashable, Targets] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        """The number of bytes cached now."""

    def get(self, key: Hashable, measure: Callable[[], Targets]) -> Targets:
        """Return the targets cached under ``key``, or call ``measure`` and cache what it returns."""
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        # Without the lock, because this is the work. Two threads that do it at once get equal targets.
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
        """Drop all cached targets."""
        with self._lock:
            self._cached.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._cached)


SHARED = TargetCache()
"""The cache of this process, shared by all of its renders."""


def target_key(
    network: VGG19, recipe: Recipe, options: ForwardOptions, style_13HW: Tensor
) -> Hashable:
    """Return a key that is equal where an analysis of a style gives the same statistics, bit for bit.

    The key has the pixels that are analysed, not those of the file: they are fewer, and they reflect the
    recipe's size, proportions and colours.

    Args:
        network: The network that analyses the style.
        recipe: The knobs of the render; those count that the statistics depend on.
        options: How the network runs, in strips for example.
        style_13HW: The style as it is analysed, (1, 3, H, W).
    """
    return (
        _pixels(style_13HW),
        style_13HW.shape,
        style_13HW.dtype,
        str(style_13HW.device),
        # A network without a digest equals only itself: a weak reference never equals a later network's.
        network.digest or weakref.ref(network),
        network.space,
        network.conv1_1_weight.dtype,
        options,
        tuple(recipe.style_layers),
        recipe.style_loss,
        recipe.gram,
        # How sums are split, and whether float32 products have full float32 precision.
        torch.get_num_threads(),
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.cudnn.conv.fp32_precision,  # type: ignore[attr-defined]
    )


def _pixels(x: Tensor) -> bytes:
    return hashlib.sha256(x.detach().cpu().contiguous().numpy().data).digest()


def _size(targets: Targets) -> int:
    return sum(t.numel() * t.element_size() for layer in targets.values() for t in layer)
