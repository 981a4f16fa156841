"""One image file as uint8 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from camfit.errors import DataError

if TYPE_CHECKING:  # Pillow is an extra: imported where an image is read
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".gif", ".tif", ".tiff", ".webp"})


def is_image(path: Path) -> bool:
    """Whether a file counts as an image by its name; other files in a class folder (notes, indexes) are passed over."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels [H, W, C], uint8, C = 1 for grey and 3 for colour; turned as its EXIF orientation says.

    size: (height, width) to resize to, bilinear with anti-aliasing. Transparent parts are laid over black. 16-bit grey
    becomes 8-bit by rounding value / 257. Palette images count as colour.
    Raises DataError, naming the file, if it cannot be decoded or has another pixel type (32-bit integer, float, Lab),
    and if Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError(f'{path}: reading images needs Pillow ({error}); pip install "camfit[images]"') from error
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image") from error
    except Exception as error:  # the decoders raise a dozen different types on damaged files
        raise DataError(f"{path}: cannot be read as an image ({error})") from error
    eight_bit = _eight_bit(image, path)
    if size is not None:
        eight_bit = eight_bit.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.array(eight_bit)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels [H, W, C], uint8, as a network of so many channels takes them: its own number stays as it is.

    Colour becomes grey by Rec. 601's luma, grey becomes three equal channels. Raises DataError for other numbers.
    """
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 1:
        grey: np.ndarray = (pixels @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)
        return grey[..., None]
    if channels == 3:
        return pixels.repeat(3, axis=-1)
    raise DataError(f"an image of {pixels.shape[-1]} channels; the network takes {channels}")


def _eight_bit(image: Image.Image, path: Path) -> Image.Image:
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode in ("L", "RGB"):
        # A png may mark one colour of an L or RGB image as transparent.
        return image if "transparency" not in image.info else _over_black(image)
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBA", "RGBa"):
        return _over_black(image)
    if image.mode in ("CMYK", "YCbCr", "RGBX"):
        return image.convert("RGB")
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.array(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    raise DataError(f"{path}: has the pixel type {image.mode!r}; expected 1, 8 or 16-bit grey, palette or 8-bit colour")


def _over_black(image: Image.Image) -> Image.Image:
    from PIL import Image

    rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return flat.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
