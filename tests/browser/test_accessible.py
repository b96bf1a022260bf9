"""Every view, in light and dark, by axe-core: nothing serious, nothing moderate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.farm import wait_for

OPTIONS = {"preload": False}
"""Style sheets are looked at as they apply; axe would fetch them again, which a page from a folder cannot."""

COLOURS = {
    **OPTIONS,
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}
"""In the dark only colours differ."""

VIEWS = {
    "wall": ("", None),
    "filters": ("", "#more summary"),
    "grouped": ("#group=style", None),
    "proofs": ("#kind=proofs", "input[data-choose]"),
    "failed": ("#kind=failed", None),
    "sheet": ("#rows=style_weight&columns=style&q=p0", None),
    "opened": ("", "article a.frame"),
    "slider": ("#view=slider", "article a.frame"),
    "comparing": ("", "button.compare"),
    "run": ("#kind=live", None),
    "nothing": ("#q=there+is+no+such", None),
}
"""By name: the address, and what is clicked."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views(
    scheme: str, addresses: dict[str, str], opened: Callable[..., Any], tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = OPTIONS if scheme == "light" else COLOURS
    faults = []
    for name, (address, click) in VIEWS.items():
        page = opened(addresses["file"] + address, color_scheme=scheme)
        if click:
            page.locator(click).first.click()
        if name in ("opened", "slider"):
            page.locator("dialog .curves canvas").wait_for()
            images = page.locator("dialog .pane img")
            wait_for(lambda: all(images.evaluate_all("all => all.map(i => i.naturalWidth)")))  # noqa: B023
        for found in axe.run(page, options=options).response["violations"]:
            if found["impact"] in ("moderate", "serious", "critical"):
                nodes = [node["html"][:150] for node in found["nodes"][:3]]
                faults.append(f"{name}: {found['id']} ({found['impact']}): {nodes}")
        page.close()
    assert not faults
