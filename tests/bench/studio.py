"""How the default recipe was found: ``python tests/bench/studio.py OUT [candidates] [options]``.

Needs ``pip install -e '.[bench]'``. Renders pairs of pictures with several candidates (presets as they
are, and variations of studio), writes every picture and a contact sheet for each size into OUT, and prints
for each picture its seconds, steps, and relative errors of content and style, measured alike for all. A
loss is no judge of a picture: look at the sheets. What was seen stands in ``tests/bench/studio.md``.

    python tests/bench/studio.py /tmp/sheets studio gatys neural-style --size 128 --size 256
    python tests/bench/studio.py /tmp/sheets studio heavy='{"style_weight": 8}' --pairs 2
    python tests/bench/studio.py /tmp/sheets studio --pictures DIR   # DIR/photos, DIR/paintings

Pictures that are in OUT already are not rendered again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

CELL = 320
LABEL = 14


def pairs(pictures: Path | None, folder: Path) -> list[tuple[Path, Path]]:
    """(photo, painting): photos of scikit-image in paintings of the project's own, or every photo of a
    folder in a painting of its own, so that all of both come up."""
    if pictures is None:
        return list(_own_pairs(folder))
    photos, paintings = (sorted((pictures / name).iterdir()) for name in ("photos", "paintings"))
    count = max(len(photos), len(paintings))
    return [(photos[k % len(photos)], paintings[k % len(paintings)]) for k in range(count)]


def _own_pairs(folder: Path) -> Iterator[tuple[Path, Path]]:
    from skimage import data

    from jobs.examples.paintings import NAMES, draw

    photos = ("astronaut", "chelsea", "coffee", "rocket")
    for name in NAMES:
        draw(name).save(folder / f"{name}.png")
    for name in photos:
        Image.fromarray(getattr(data, name)()).save(folder / f"{name}.png")
    for k in range(6):
        photo, painting = photos[k % len(photos)], NAMES[(k + k // 4) % len(NAMES)]
        yield folder / f"{photo}.png", folder / f"{painting}.png"


def candidate(text: str) -> tuple[str, dict[str, Any]]:
    """``gatys`` -> that preset; ``name={"style_weight": 8}`` -> studio with these knobs."""
    name, given, knobs = text.partition("=")
    return (name, json.loads(knobs)) if given else (name, {"preset": name})


def errors(picture: Any, content: Path, style: Path, network: Any) -> dict[str, float]:
    """How far a picture is from both, relative to what is there, by rulers that are the same for all:
    the content's features at conv4_2; the style's Gram matrices, and its features' distributions by
    Wasserstein-2, each the mean over conv1_1 to conv5_1."""
    from stylize import Recipe
    from stylize.losses.functions import wasserstein_loss
    from stylize.matrix_roots import factorise
    from stylize.network.features import features
    from stylize.pictures.codec import read
    from stylize.pictures.pixel_spaces import RGB, convert
    from stylize.pictures.resize import resize, style_shape

    layers = [f"conv{block}_1" for block in range(1, 6)]
    shape = picture.rgb.shape[2:]
    photo, painting = read(str(content)).rgb, read(str(style)).rgb
    as_analysed = style_shape(*painting.shape[2:], shape, Recipe())
    mine, its, wanted = (
        features(network, convert(rgb.clamp(0, 1), RGB, network.space), ["conv4_2", *layers])
        for rgb in (picture.rgb, resize(photo, *shape), resize(painting, *as_analysed))
    )
    grams, distances = [], []
    for layer in layers:
        (mean, gram, spread), (mean_t, gram_t, spread_t) = (
            _moments(found[layer][0].flatten(1)) for found in (mine, wanted)
        )
        grams.append((gram - gram_t).square().mean() / gram_t.square().mean())
        variances = spread_t.diagonal(dim1=1, dim2=2)
        distance, _ = wasserstein_loss(mean - mean_t, spread, variances, factorise(spread_t))
        distances.append(distance / len(mean[0]) / wanted[layer].square().mean())
    off = (mine["conv4_2"] - its["conv4_2"]).square().mean() / its["conv4_2"].square().mean()
    return {
        "content": float(off),
        "gram": float(sum(grams)) / len(layers),
        "wasserstein": float(sum(distances)) / len(layers),
    }


def _moments(f: Any) -> tuple[Any, Any, Any]:
    """Of features (N, M): mean (1, N), Gram matrix and covariance (1, N, N)."""
    mean = f.mean(1, keepdim=True)
    count = f.shape[1]
    return mean.mT, (f @ f.mT / count)[None], ((f - mean) @ (f - mean).mT / count)[None]


def contact_sheet(rows: Sequence[Sequence[tuple[str, Path]]], path: Path) -> None:
    """Pictures under their labels, a row for each pair."""
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (CELL + 4), len(rows) * (CELL + LABEL + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (label, file) in enumerate(row):
            picture = Image.open(file).convert("RGB")
            scale = CELL / max(picture.size)
            shown = picture.resize(
                (round(picture.width * scale), round(picture.height * scale)),
                Image.Resampling.LANCZOS,
            )
            left, top = x * (CELL + 4), y * (CELL + LABEL + 4)
            draw.text((left + 2, top + 1), label, fill="black")
            sheet.paste(shown, (left, top + LABEL))
    sheet.save(path)


def main() -> None:
    """Render what is asked for, and lay it out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("candidates", nargs="*", type=candidate, default=[candidate("studio")])
    parser.add_argument("--size", type=int, action="append", help="default: 128")
    parser.add_argument("--pairs", help="numbers, as in 0,2,5; default: all")
    parser.add_argument("--pictures", type=Path, help="a folder with photos/ and paintings/")
    options = parser.parse_args()

    from stylize import Recipe, stylize
    from stylize.network.vgg19 import load_vgg19
    from stylize.network.weights import identify
    from stylize.pictures.codec import read

    options.out.mkdir(parents=True, exist_ok=True)
    network = load_vgg19(identify(Recipe()))
    found = pairs(options.pictures, options.out)
    chosen = [int(k) for k in options.pairs.split(",")] if options.pairs else range(len(found))
    for size in options.size or [128]:
        rows = []
        for k in chosen:
            content, style = found[k]
            row = [("content", content), ("style", style)]
            for name, knobs in options.candidates:
                path = options.out / f"{content.stem}--{style.stem}--{name}--{size}.png"
                if not path.exists():
                    recipe = Recipe.model_validate({**knobs, "size": size, "weights": "caffe"})
                    began = time.perf_counter()
                    result = stylize(str(content), str(style), recipe, network=network)
                    seconds = time.perf_counter() - began
                    result.save(path)
                    figures = errors(read(str(path)), content, style, network)
                    print(
                        f"{size:5} {content.stem:12} {style.stem:20} {name:14} {seconds:7.1f} s "
                        f"{result.steps:6} steps  "
                        + "  ".join(f"{what} {value:.4f}" for what, value in figures.items()),
                        flush=True,
                    )
                row.append((name, path))
            rows.append(row)
        contact_sheet(rows, options.out / f"sheet-{size}.png")
        print(f"look at {options.out / f'sheet-{size}.png'}")


if __name__ == "__main__":
    main()
