"""Camera raw, developed as a camera would, with the extra ``stylefarm[raw]`` (LibRaw)."""

from __future__ import annotations

import io

from stylize.errors import PictureError
from stylize.pictures.reading.raster import Raster


def read_raw(data: bytes, limit: int) -> Raster:
    """Return the raster of a camera's raw file, upright, as sRGB of 16 bits.

    The white balance is the camera's, and the demosaicing LibRaw's default. The brightness depends on the
    exposure alone: LibRaw would take the brightest pixel of a picture for white, which makes frames flicker.

    Args:
        data: The file.
        limit: The most pixels.

    Raises:
        PictureError: It needs the extra, has too many pixels, or its camera is not known to LibRaw. The
            text has no name yet.
    """
    try:
        import rawpy
    except ImportError:
        raise PictureError(
            "is a camera's raw file, which needs: pip install 'stylefarm[raw]'"
        ) from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            sizes = raw.sizes
            if sizes.raw_width * sizes.raw_height > limit:
                raise PictureError(
                    f"has {sizes.raw_width} x {sizes.raw_height} px; the limit is "
                    f"{limit // 1_000_000} million pixels"
                )
            values = raw.postprocess(
                output_bps=16,
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,
                output_color=rawpy.ColorSpace.sRGB,
                gamma=(2.4, 12.92),  # LibRaw's spelling of sRGB's curve
            )
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise PictureError(f"is a camera's raw file that cannot be developed ({reason})") from None
    channels = values.shape[2]
    if channels not in (1, 3):
        raise PictureError(f"is a camera's raw file of {channels} colours, which is not read")
    # One channel: there are cameras without colour filters.
    return Raster(values, "rgb" if channels == 3 else "grey", 65535)
