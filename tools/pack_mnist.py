"""Make `src/drawnet/data/mnist/mnist.xz` from the four IDX files that MNIST is published as.

    python tools/pack_mnist.py FOLDER [TARGET]

FOLDER holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
`t10k-labels-idx1-ubyte`, each as published (`.gz`) or unpacked. Their checksums are checked, they are put one after
the other and compressed with LZMA2. Takes a minute or two.

The filter was chosen by size on the first 10,000 images: LZMA2 over plain images with `lc` 4 took 1.36 MB, with the
default `lc` 3 1.36 MB (0.15 % more), bzip2 1.40 MB, WebP mosaics 1.52 MB, pixel planes (LZMA2) 1.59 MB, PNG mosaics
1.66 MB. `pb` is 0 because bytes are not aligned to anything; the dictionary spans all images.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import sys
from pathlib import Path

from drawnet.data.mnist import IDX_FILES, PACKED_FILE, IdxFile, read_packed

FILTER = {
    "id": lzma.FILTER_LZMA2,
    "preset": 9 | lzma.PRESET_EXTREME,
    "dict_size": 1 << 26,
    "lc": 4,
    "lp": 0,
    "pb": 0,
}


def read_idx(folder: Path, file: IdxFile) -> bytes:
    """The unpacked bytes of one published file; exits if they are not the published ones."""
    packed = folder / f"{file.name}.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / file.name).read_bytes()
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise SystemExit(f"{folder / file.name}: sha256 is not that of the published file, {file.sha256}")
    return data


def main() -> None:
    """Pack, write, and read back."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    folder, target = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else PACKED_FILE
    data = b"".join(read_idx(folder, file) for file in IDX_FILES)
    target.write_bytes(lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=[FILTER]))
    read_packed(target)
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
