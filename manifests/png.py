"""PNG files as chunks, each with its checksum (PNG specification, section 5)."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_BYTES = 13
"""Of the data of an IHDR chunk."""


def read_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and data of every chunk of a PNG file, up to its last, IEND.

    Raises:
        ValueError: The file is no PNG, is truncated or damaged; says so as a predicate ("is ...").
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("is not a PNG file")
    view, position, name = memoryview(content), len(SIGNATURE), b""
    while name != b"IEND":
        # Length and name come before the data, the checksum after it.
        end = position + 8
        if end <= len(content):
            length, name = struct.unpack_from(">I4s", content, position)
            end += length
        if end + 4 > len(content):
            raise ValueError(f"is truncated: {len(content)} bytes, no IEND chunk")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise ValueError(f"is damaged: the checksum of its {name!r} chunk fails")
        yield name, view[position + 8 : end]
        position = end + 4


def declared_size(content: bytes) -> tuple[int, int]:
    """Height and width in pixels that the header of a PNG file declares.

    Raises:
        ValueError: The file is no PNG, or does not begin with a whole header.
    """
    name, header = next(read_chunks(content))
    if name != b"IHDR" or len(header) != HEADER_BYTES:
        raise ValueError("is damaged: it does not begin with a header")
    width, height = struct.unpack_from(">II", header)
    return height, width


def encode_chunk(name: bytes, data: bytes | memoryview) -> bytes:
    """One chunk as it stands in a file."""
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
