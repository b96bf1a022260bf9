"""Places that this user may not look into, as a container's user may not: sentences, no tracebacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.errors import InputError, JobFileError, StorageError, UsageError
from jobs.examples.starter import write_starter
from jobs.inputs.near import near_picture
from jobs.inputs.reader import Inputs
from jobs.jobfile.load import load_job
from jobs.proofs.find_job import is_job_file, job_of, storages_of
from jobs.records.commit import Records
from stylize.errors import WeightsError
from stylize.network.weights import identify, load
from stylize.recipe import Recipe
from tests.support.farm import picture, write_job
from tests.support.machine import folder_for_all
from tests.support.rigs import no_root


@pytest.fixture
def private() -> Iterator[Path]:
    """A job in a folder of somebody else's."""
    with folder_for_all() as folder:
        place = folder / "private"
        write_job(place / "job", photos=1, styles=1)
        place.chmod(0)
        yield place / "job"
        place.chmod(0o700)


def test_a_job_file(private: Path) -> None:
    with no_root():
        assert is_job_file(str(private / "job.yaml"))
        assert not is_job_file(str(private / "out"))
        with pytest.raises(JobFileError, match=r"cannot be read \(Permission denied\)"):
            load_job(private / "job.yaml")


def test_an_output(private: Path) -> None:
    storage, _ = storages_of(str(private.parent / "out"), None)
    with no_root():
        with pytest.raises(StorageError, match="Permission denied"):
            list(Records(storage).entries())
        with pytest.raises(StorageError, match="Permission denied"):
            job_of(str(private / "out"), None)


def test_a_picture(private: Path, tmp_path: Path) -> None:
    for base in (private, tmp_path):
        inputs = Inputs(base)
        with no_root():
            assert near_picture(inputs, str(private / "photos/p9.png"), []) is None
            with pytest.raises(InputError, match="Permission denied"):
                inputs.read(str(private / "photos/p0.png"))


def test_a_link_into_it(private: Path) -> None:
    with folder_for_all() as folder:
        (folder / "a.png").symlink_to(private / "photos/p0.png")
        with no_root(), pytest.raises(InputError, match="Permission denied"):
            Inputs(folder).read("a.png")


def test_weights(private: Path) -> None:
    with no_root(), pytest.raises(WeightsError, match=r"cannot be read \(Permission denied\)"):
        identify(recipe_of(str(private / "tiny.safetensors")))


def test_weights_that_may_be_seen_but_not_read() -> None:
    with folder_for_all() as folder:
        write_job(folder)
        (folder / "tiny.safetensors").chmod(0)
        with no_root(), pytest.raises(WeightsError, match=r"cannot be read \(Permission denied\)"):
            identify(recipe_of("tiny.safetensors"), folder)


def test_a_folder_for_a_starter_job(private: Path) -> None:
    with folder_for_all() as folder:
        picture(1).save(folder / "photo.png")
        with (
            no_root(),
            pytest.raises(UsageError, match=r"cannot write to .* \(Permission denied\)"),
        ):
            write_starter(private / "new", [folder / "photo.png"])


def test_downloaded_weights_without_a_cache(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(private))
    with no_root(), pytest.raises(WeightsError, match=r"Permission denied.*; set XDG_CACHE_HOME"):
        identify(recipe_of("http://127.0.0.1:1/vgg.pth"))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/dev/null/home")
    with pytest.raises(WeightsError, match=r"HOME is /dev/null/home.*; or set XDG_CACHE_HOME"):
        identify(recipe_of("http://127.0.0.1:1/vgg.pth"))


def test_torchvisions_weights_without_a_cache(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    weights = identify(Recipe.model_validate({"weights": "torchvision"}))
    monkeypatch.setenv("TORCH_HOME", str(private))
    with no_root(), pytest.raises(WeightsError, match=r"Permission denied.*set TORCH_HOME"):
        load(weights)
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("HOME", "/dev/null/home")
    with pytest.raises(WeightsError, match=r"/dev/null/home.*set TORCH_HOME"):
        load(weights)


def recipe_of(weights: str) -> Recipe:
    return Recipe.model_validate({"weights": weights, "weights_input": "caffe"})
