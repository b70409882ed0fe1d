"""IDX, the format of MNIST's files and of those made like them.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor


def idx_header(shape: tuple[int, ...]) -> bytes:
    """How an IDX file of bytes begins: two zeros, 8 (the type), the number of dimensions, each as a big-endian int32.

    Args:
        shape: number of items, then the shape of one.

    Example:
        >>> from drawnet.data.idx import idx_header
        >>> idx_header((60000,)).hex()
        '000008010000ea60'
    """
    return struct.pack(f">4B{len(shape)}i", 0, 0, 8, len(shape), *shape)


def read_idx(path: Path, shape: tuple[int, ...]) -> UInt8[Tensor, "..."]:
    """The bytes of an IDX file compressed by gzip.

    Args:
        path: the file.
        shape: that it must have.

    Raises:
        ValueError: it is damaged or of another shape or type; the message names it.
        OSError: it cannot be read.
    """
    try:
        data = bytearray(gzip.decompress(path.read_bytes()))  # a bytearray, because tensors are writable
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    header = idx_header(shape)
    if not data.startswith(header):
        raise ValueError(f"{path} begins with {data[: len(header)].hex()}, expected {header.hex()}: bytes of {shape}")
    if len(data) != len(header) + math.prod(shape):
        raise ValueError(f"{path} has {len(data)} bytes unpacked, expected {len(header) + math.prod(shape)}")
    return torch.frombuffer(data, dtype=torch.uint8, offset=len(header)).reshape(shape)
