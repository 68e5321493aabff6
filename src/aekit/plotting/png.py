"""Read a PNG: the parameters that made it, and whether the file is complete. Standard library only."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_parameters(png: bytes) -> dict[str, Any]:
    """Return what :func:`aekit.core.artifacts.write_png` wrote into the text chunk ``aekit``; empty for other PNGs.

    Args:
        png: The whole file.

    Raises:
        ValueError: It is not a PNG, or a damaged one: cut short, or with a wrong checksum.

    Source:
        Portable Network Graphics (third edition), W3C 2025, sections 5.2, 5.3 and 11.3.3.
    """
    if not png.startswith(SIGNATURE):
        raise ValueError("is not a PNG")
    parameters: dict[str, Any] = {}
    kinds = []
    for kind, data in _chunks(png):
        kinds.append(kind)
        if kind in (b"tEXt", b"iTXt") and data.startswith(b"aekit\0"):
            # iTXt has two bytes and two texts, all of them zero or empty here, between the keyword and the value.
            text = data.removeprefix(b"aekit\0").lstrip(b"\0").decode(errors="replace")
            parameters = _parse(text)
    if kinds[:1] != [b"IHDR"] or kinds[-1] != b"IEND":
        raise ValueError("is cut short")
    return parameters


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        checksum = png[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            raise ValueError("is cut short")
        if zlib.crc32(kind + data) != int.from_bytes(checksum, "big"):
            raise ValueError("is damaged")
        yield kind, data
        if kind == b"IEND":
            return
        at += 12 + length


def _parse(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
