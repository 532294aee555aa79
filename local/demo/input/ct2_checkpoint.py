"""Reads a CTranslate2 model file (binary version 6) with numpy alone."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demo.faults import DemoError

BINARY_VERSION = 6
SPECIFICATION = "WhisperSpec"
#: CTranslate2's numbers of types. The fifth, bfloat16, does not occur here, and numpy does not have it.
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

Variables = dict[str, NDArray[Any]]


@dataclass
class Reader:
    """A position in little-endian data."""

    data: bytes
    position: int = 0

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(f"<{layout}", self.data, self.position)
        self.position += struct.calcsize(layout)
        return int(value)

    def text(self) -> str:
        length = self.number("H")
        self.position += length
        return self.data[self.position - length : self.position].rstrip(b"\0").decode()

    def variable(self) -> NDArray[Any]:
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind = np.dtype(TYPES[self.number("B")])
        size = self.number("I")
        values = np.frombuffer(self.data, kind, size // kind.itemsize, self.position)
        self.position += size
        return values.reshape(shape)


def read(data: bytes) -> Variables:
    """Return the variables by name, with their aliases. Raises DemoError for any other kind of file."""
    reader = Reader(data)
    version, specification, _revision = reader.number("I"), reader.text(), reader.number("I")
    if (version, specification) != (BINARY_VERSION, SPECIFICATION):
        wanted = f"{SPECIFICATION} version {BINARY_VERSION}"
        raise DemoError(f"the weights are {specification} version {version}, and {wanted} is needed")
    variables = {reader.text(): reader.variable() for _ in range(reader.number("I"))}
    for _ in range(reader.number("I")):
        alias, name = reader.text(), reader.text()
        variables[alias] = variables[name]
    if reader.position != len(data):
        raise DemoError(f"the weights hold {len(data)} bytes, of which {reader.position} are described")
    return variables
