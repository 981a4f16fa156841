"""One image file as pixels."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camfit.data.image import is_image, read_image
from camfit.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 5), np.uint8)
COLOUR = RNG.integers(0, 256, (4, 5, 3), np.uint8)


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    return folder / name


def test_grey_and_colour_come_back_as_they_are(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(GREY))), GREY[..., None])
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(COLOUR))), COLOUR)


def test_sixteen_bit_grey_is_rounded_to_eight(tmp_path: Path) -> None:
    wide = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    assert read_image(saved(tmp_path, Image.fromarray(wide))).flatten().tolist() == [0, 0, 1, 1, 255]
    assert read_image(saved(tmp_path, Image.fromarray(wide), "a.tif")).flatten().tolist() == [0, 0, 1, 1, 255]


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    pixels = read_image(saved(tmp_path, Image.fromarray(GREY > 127)))
    np.testing.assert_array_equal(pixels[..., 0], np.where(GREY > 127, 255, 0))


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, np.full((4, 5), 255, np.uint8)])
    rgba[0, 0, 3] = 0
    expected = COLOUR.copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(read_image(saved(tmp_path, Image.fromarray(rgba))), expected)
    grey = read_image(saved(tmp_path, Image.fromarray(np.dstack([GREY, rgba[..., 3]]), "LA")))
    assert grey.shape == (4, 5, 1)
    assert grey[0, 0] == 0
    np.testing.assert_array_equal(grey[1:, :, 0], GREY[1:])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").copy()
    palette = Image.new("P", image.size)
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    assert read_image(saved(tmp_path, palette)).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert read_image(saved(tmp_path, palette, transparency=1)).tolist() == [[[10, 20, 30], [0, 0, 0], [70, 80, 90]]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert (read_image(saved(tmp_path, image, "a.jpg")) > 250).all()


def test_the_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: the top of the scene is the right side of the stored image
    turned = read_image(saved(tmp_path, Image.fromarray(GREY), exif=exif))
    np.testing.assert_array_equal(turned[..., 0], np.rot90(GREY, k=-1))


def test_size_is_height_and_width(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR))
    assert read_image(path, (8, 2)).shape == (8, 2, 3)
    flat = saved(tmp_path, Image.new("L", (9, 7), 33), "flat.png")
    assert (read_image(flat, (3, 20)) == 33).all()


def test_other_pixel_types_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.zeros((4, 5), np.float32)), "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: has the pixel type 'F'; expected"):
        read_image(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    good = saved(tmp_path, Image.fromarray(COLOUR)).read_bytes()
    path = tmp_path / "bad.png"
    for content in (b"", b"text", good[:40], good[:-40]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.png: cannot be read as an image"):
            read_image(path)
    with pytest.raises(DataError, match=r"none\.png: no such image"):
        read_image(tmp_path / "none.png")


def test_without_pillow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r'pip install "camfit\[images\]"'):
        read_image(tmp_path / "a.png")


def test_images_are_told_by_their_suffix(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert is_image(tmp_path / "A.JPG")
    assert not is_image(tmp_path / "notes.txt")
    assert not is_image(tmp_path / "folder.png")
