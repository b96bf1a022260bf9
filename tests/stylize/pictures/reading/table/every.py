"""The table: a file for each format, depth, arrangement, alpha, colour space and orientation that is read."""

from __future__ import annotations

from tests.stylize.pictures.reading.table import deep, modern, web

TABLE = {
    f"{kind}: {name}": row
    for kind, rows in {
        "JPEG": web.jpegs,
        "PNG": web.pngs,
        "WebP": web.webps,
        "GIF": web.gifs,
        "BMP": web.bmps,
        "Netpbm": web.netpbms,
        "PSD": web.psds,
        "TIFF": deep.tiffs,
        "JPEG 2000": deep.jpeg2000s,
        "OpenEXR": deep.exrs,
        "AVIF": modern.avifs,
        "HEIC": modern.heics,
        "JPEG XL": modern.jxls,
    }.items()
    for name, row in rows()
}
