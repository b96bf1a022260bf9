"""The formats that are read, and how each is recognised: by its content, not by its name.

This module needs nothing but the standard library, so that a job can be planned by it.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 32
"""Bytes of a file from which ``recognise`` tells its format."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of pictures."""

    name: str
    """Its name, for people."""
    endings: tuple[str, ...]
    """The extensions of its files, in lower case."""
    starts: tuple[bytes, ...] = ()
    """What its files begin with."""
    brands: tuple[bytes, ...] = ()
    """Its brands, where it is a kind of ISO base media file (ISO/IEC 14496-12)."""
    extra: str | None = None
    """The extra of stylefarm whose package reads it; None: no extra is needed."""


_CAMERAS = (
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
    *(
        ".3fr",
        ".x3f",
        ".raw",
        ".iiq",
        ".erf",
        ".mrw",
        ".kdc",
        ".dcr",
        ".rwl",
        ".sr2",
        ".srf",
        ".gpr",
        ".crw",
    ),
)

FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo"), (b"\xff\xd8\xff",)),
    Format("PNG", (".png", ".apng"), (b"\x89PNG\r\n\x1a\n",)),
    Format("WebP", (".webp",), (b"RIFF",)),
    Format(
        "camera raw",  # DNG, NEF, ARW and PEF are TIFFs, which their tags tell from others
        _CAMERAS,
        (
            *(b"II*\0\x10\0\0\0CR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"),
            *(b"FOVb", b"\0MRM"),
        ),
        (b"crx ",),
        extra="raw",
    ),
    Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Format("GIF", (".gif",), (b"GIF8",)),
    Format("BMP", (".bmp", ".dib"), (b"BM",)),
    Format("AVIF", (".avif",), brands=(b"avif", b"avis")),
    Format(
        "HEIC",
        (".heic", ".heif", ".hif"),
        brands=(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        extra="heif",
    ),
    Format(
        "JPEG 2000",
        (".jp2", ".j2k", ".j2c", ".jpx", ".jpf"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    ),
    Format("Netpbm", (".ppm", ".pgm", ".pbm", ".pnm"), tuple(b"P%d" % k for k in range(1, 7))),
    Format("PSD", (".psd",), (b"8BPS\0\x01",)),
    Format(
        "JPEG XL",
        (".jxl",),
        (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
        extra="jxl",
    ),
    Format("OpenEXR", (".exr",), (b"\x76\x2f\x31\x01",), extra="exr"),
)

KNOWN_ELSEWHERE = {
    ".hdr": "Radiance HDR",
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), "JPEG XR"),
    ".jls": "JPEG-LS",
    ".jng": "JNG",
    **dict.fromkeys((".jph", ".jhc"), "high-throughput JPEG 2000"),
    ".psb": "Photoshop's large documents",
    ".svg": "SVG",
    ".eps": "EPS",
    ".pdf": "PDF",
    ".tga": "Targa",
    ".pam": "Netpbm's arbitrary maps",
    ".pfm": "portable float maps",
    ".ico": "icons",
    ".icns": "icons",
    ".qoi": "QOI",
    ".pcx": "PCX",
    ".dds": "DirectDraw",
    ".sgi": "SGI",
    ".heics": "HEIC sequences",
    ".avifs": "AVIF sequences",
    ".dpx": "DPX",
    ".cin": "Cineon",
    ".xcf": "GIMP",
    ".kra": "Krita",
}
"""Extensions of pictures that are not read, so that a folder of them is not passed over in silence."""

READ = frozenset(ending for known in FORMATS for ending in known.endings)
"""Extensions of the pictures that are read, in lower case."""

NAMES = ", ".join(known.name for known in FORMATS)


def recognise(data: bytes) -> Format | None:
    """Return the format of a file by its first ``HEAD_BYTES``; None: it is none of ``FORMATS``."""
    brand = data[8:12] if data[4:8] == b"ftyp" else None
    for known in FORMATS:
        if (known.starts and data.startswith(known.starts)) or brand in known.brands:
            return known
    # A file may name a general brand first, and its format among the compatible ones.
    compatible = data[16:HEAD_BYTES]
    for known in FORMATS if brand is not None else ():
        if any(name in compatible for name in known.brands):
            return known
    return None
