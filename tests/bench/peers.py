"""The peers, as they are on PyPI, run on the benchmark's pictures and weights.

Each is its own program in a process of its own (``python peers.py pastiche|neural-style ...``) that
prints, for every evaluation of its loss, a JSON line [seconds since it began, loss]. Nothing of theirs is
changed: the closure that they hand to their optimiser is timed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()
OUT = sys.stdout


def note(loss: float) -> None:
    """One evaluation."""
    print(json.dumps([time.perf_counter() - BEGAN, loss]), file=OUT, flush=True)


def pastiche(content: str, style: str, size: int, steps: int, optimizer: str) -> None:
    """pastiche's artist, squared to ``size``."""
    from pastiche.pastiche import PasticheArtist

    side = (size, size)
    artist = PasticheArtist(content, [style], optimizer=optimizer, size=side, style_size=side)
    for _ in range(steps):
        artist.draw()
        note(float(artist.loss))


def neural_style(content: str, style: str, size: int, steps: int, optimizer: str) -> None:
    """neural-style's command, on the CPU, from noise with seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "vgg19.pth"
        _write_model(model)
        options = {
            "-content_image": content,
            "-style_image": style,
            "-image_size": size,
            "-num_iterations": steps,
            "-optimizer": optimizer,
            "-gpu": "c",
            "-seed": 0,
            "-print_iter": 0,
            "-save_iter": 0,
            "-model_file": model,
            "-output_image": Path(folder) / "out.png",
        }
        sys.argv = ["neural-style", *(str(word) for pair in options.items() for word in pair)]
        sys.argv.append("-disable_check")
        from neural_style import neural_style as command

        setup = command.setup_optimizer

        def timed_setup(image: Any) -> Any:
            optimiser, loop = setup(image)
            step = optimiser.step

            def timed_step(closure: Any) -> Any:
                def timed() -> Any:
                    loss = closure()
                    note(float(loss))
                    return loss

                return step(timed)

            optimiser.step = timed_step
            return optimiser, loop

        command.setup_optimizer = timed_setup
        # What it says about itself is for a person.
        with contextlib.redirect_stdout(sys.stderr):
            command.main()


def _write_model(path: Path) -> None:
    """The caffe weights as the state dict that neural-style wants; its classifier is never used."""
    import torch

    from stylize import Recipe
    from stylize.layer_names import LAYERS
    from stylize.network.weights import identify, load

    places = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    state = {}
    for place, _, (weight, bias) in zip(places, LAYERS, load(identify(Recipe())), strict=True):
        state |= {f"features.{place}.weight": weight, f"features.{place}.bias": bias}
    torch.save(state, path)


if __name__ == "__main__":
    peer, content_path, style_path, size_text, steps_text, optimizer_name = sys.argv[1:]
    {"pastiche": pastiche, "neural-style": neural_style}[peer](
        content_path, style_path, int(size_text), int(steps_text), optimizer_name
    )
