"""Files of 16 bit, in grey and in colour, written without Pillow, which writes no 16-bit colours."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def write_deep(path: Path, width: int, height: int, highest: int, colour: bool = False) -> None:
    """A ramp from 0 to a highest value, as a PNG or an uncompressed TIFF file by its suffix."""
    ramp = np.linspace(0, highest, width * height).reshape(height, width, 1).astype(np.uint16)
    pixels = np.repeat(ramp, 3 if colour else 1, axis=2)
    path.write_bytes(_png(pixels) if path.suffix == ".png" else _tiff(pixels))


def _png(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = pixels.shape
    raw = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if channels == 3 else 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _tiff(pixels: np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]) -> bytes:
    height, width, channels = pixels.shape
    raw, start = pixels.astype("<u2").tobytes(), 14  # the header, and three numbers of bits
    short, long = 3, 4
    bits = (258, short, 3, 8) if channels == 3 else (258, short, 1, 16)
    entries = [(256, long, 1, width), (257, long, 1, height), bits, (259, short, 1, 1)]
    entries += [(262, short, 1, 2 if channels == 3 else 1), (273, long, 1, start), (277, short, 1, channels)]
    entries += [(278, long, 1, height), (279, long, 1, len(raw))]
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    header = struct.pack("<2sHI3H", b"II", 42, start + len(raw), 16, 16, 16)
    return header + raw + struct.pack("<H", len(entries)) + listed + struct.pack("<I", 0)
