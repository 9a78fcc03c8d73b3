"""Headers of files whose content is written block by block, since it does not fit into memory."""

from __future__ import annotations

import io

import numpy as np


def array_header(shape: tuple[int, ...], number: str = "<f4") -> bytes:
    """Return the header of a .npy file with an array, of float32 unless another type is named."""
    header = io.BytesIO()
    kind = {"descr": number, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    return header.getvalue()


def index_header(shape: tuple[int, int]) -> bytes:
    """Return the header of faiss's file format of a flat index.

    faiss can only write an index that is in memory as a whole. The header of an empty index holds
    the number of rows at byte 8, and ends with the number of floats.
    """
    import faiss

    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(shape[1])).tobytes())
    header[8:16] = shape[0].to_bytes(8, "little")
    header[-8:] = (shape[0] * shape[1]).to_bytes(8, "little")
    return bytes(header)
