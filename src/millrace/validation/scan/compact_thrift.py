"""Structs in Thrift's compact protocol, which Parquet writes its footers in, as plain Python values.

Source: "Thrift compact protocol encoding" of the Thrift specification; field numbers mean what parquet.thrift says.
"""

from __future__ import annotations

from typing import Any

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def read_struct(data: bytes) -> dict[int, Any]:
    """The struct that `data` begins with: field numbers to numbers, bytes, lists and structs in the same form.

    Raises
    ------
    ValueError, IndexError
        When `data` is none, or ends within it.
    """
    return _Reader(data).struct()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._signed()
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)
        return found

    def _value(self, kind: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._signed()
        if kind == _BINARY:
            return self._taken(self._unsigned())
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            return [self._value(head & 15) for _ in range(size)]
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list, a truth is a byte
            return self._byte()
        if kind == _DOUBLE:
            return self._taken(8)
        if kind == _MAP:
            size = self._unsigned()
            kinds = self._byte() if size else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]
        raise ValueError(f"{kind} is no type of Thrift")

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _taken(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise IndexError("the struct is cut short")
        return self._data[start : self._at]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
