"""A table as Parquet, through pyarrow, which is an extra and may not be installed."""

import io
from importlib.util import find_spec
from typing import Any

from dgprune.errors import DgpruneError
from reports.data.columns import DataTable, Kind


def is_available() -> bool:
    """Whether Parquet can be written and read here."""
    return find_spec("pyarrow") is not None


def parquet_bytes(table: DataTable) -> bytes:
    """The table with its types; what was not measured is null, text is as the records have it.

    The same table gives the same bytes with the same pyarrow, which writes its version into them.
    Raises DgpruneError where a number does not fit its column.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    try:
        arrays = [
            pa.array(values, type=_type(column.kind))
            for column, values in zip(table.columns, columns, strict=True)
        ]
    except (OverflowError, pa.ArrowInvalid) as error:
        raise DgpruneError(
            f"the table {table.name} does not fit Parquet ({error}); remove the record from the "
            "records file"
        ) from None
    buffer = io.BytesIO()
    fields = [pa.field(c.name, _type(c.kind), metadata={"about": c.about}) for c in table.columns]
    parquet.write_table(pa.table(arrays, schema=pa.schema(fields)), buffer, compression="snappy")
    return buffer.getvalue()


def _type(kind: Kind) -> Any:
    import pyarrow as pa

    types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    return types[kind]


def is_same_parquet(data: bytes, other: bytes) -> bool:
    """Whether two Parquet files hold the same columns, types and values; no Parquet is not."""
    import pyarrow as pa

    try:
        ours, theirs = _read(data), _read(other)
    except (OSError, pa.ArrowException):
        return False
    return bool(ours.schema.equals(theirs.schema, check_metadata=True) and ours.equals(theirs))


def _read(data: bytes) -> Any:
    from pyarrow import parquet

    # Without threads: one of its pools may still run when the process ends, which aborts it then.
    return parquet.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
