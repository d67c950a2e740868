"""What general compressors and image formats make of the test images of the digits.

    pip install pillow pillow-jxl-plugin
    python3 benches/compressors.py

Each compressor gets the 447 images as one stream, a byte a pixel (28,608 bytes). Image formats get one mosaic of
all images, 22 in a row, and each image as a file of its own. Every file is read back and compared.
"""

import bz2
import gzip
import io
import lzma
import zlib
from importlib.metadata import version
from pathlib import Path


import PIL
import pillow_jxl  # noqa: F401, registers JPEG-XL
from PIL import Image

DIGITS = Path(__file__).resolve().parent.parent / "src/data/digits.csv.gz"
rows = [[int(v) for v in line.split(",")] for line in gzip.open(DIGITS, "rt")]
test = [bytes(row[:64]) for row in rows[1350:]]
raw = b"".join(test)
assert len(raw) == 28608


def row(name, size):
    print(f"{name:<34}  {size:>6}  {8 * size / len(raw):>8.3f}")


print(f"{'447 test images':<34}   bytes  bits/dim")
gz = gzip.compress(raw, 9, mtime=0)
bz = bz2.compress(raw, 9)
xz = lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
assert gzip.decompress(gz) == bz2.decompress(bz) == lzma.decompress(xz) == raw
row("gzip -9", len(gz))
row("xz -9e", len(xz))
row("bzip2 -9", len(bz))


def size(image, **how):
    file = io.BytesIO()
    image.save(file, **how)
    back = Image.open(io.BytesIO(file.getvalue())).convert("L")
    assert back.tobytes() == image.tobytes(), how
    return len(file.getvalue())


across = 22
down = -(-len(test) // across)
mosaic = Image.new("L", (8 * across, 8 * down))
for i, pixels in enumerate(test):
    mosaic.paste(Image.frombytes("L", (8, 8), pixels), (8 * (i % across), 8 * (i // across)))
formats = {
    "PNG": dict(format="PNG", optimize=True),
    "WebP": dict(format="WEBP", lossless=True, quality=100, method=6),
    "JPEG-XL": dict(format="JXL", lossless=True, effort=9),
}
for name, how in formats.items():
    row(f"{name}, one mosaic", size(mosaic, **how))
for name, how in formats.items():
    row(f"{name}, a file an image", sum(size(Image.frombytes("L", (8, 8), p), **how) for p in test))
jxl = version("pillow-jxl-plugin")
print(f"Pillow {PIL.__version__}, pillow-jxl-plugin {jxl}, zlib {zlib.ZLIB_RUNTIME_VERSION}")
