"""Makes the Parquet files of parquet.test.ts with pyarrow 26: python make.py, in this folder."""

import datetime
import decimal
import pyarrow as pa
import pyarrow.parquet as pq

turn = pa.struct([("role", pa.string()), ("content", pa.string())])
messages = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "messages": pa.array(
            [
                [
                    {"role": "user", "content": "What is 2 plus 2?"},
                    {"role": "assistant", "content": "<think>Two and two.</think>4"},
                ],
                [
                    {"role": "user", "content": "Ein Grüße-Test: π · 2?"},
                    {"role": "assistant", "content": "<think>Doppelt.</think>2π"},
                ],
                None,
                [],
            ],
            pa.list_(turn),
        ),
    }
)
pq.write_table(messages, "messages.parquet", compression="snappy", row_group_size=2)

count = 2500
rows = pa.table(
    {
        "question": [f"How much is {i} plus 1?" for i in range(count)],
        "answer": [f"{i} + 1 = {i + 1}\n#### {i + 1}" for i in range(count)],
        "level": pa.array(["easy", "hard"] * (count // 2)).dictionary_encode(),
    }
)
pq.write_table(rows, "gsm8k.parquet", compression="zstd", row_group_size=900, data_page_version="2.0")

kinds = pa.table(
    {
        "prompt": ["a", "b"],
        "solution": ["1", None],
        "big": pa.array([2**53 - 1, -1], pa.int64()),
        "when": pa.array([datetime.datetime(2026, 3, 1, 12), None], pa.timestamp("ms")),
        "exact": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
        "bytes": pa.array([b"caf\xc3\xa9", None], pa.binary()),
        "tags": pa.array([["x", "y"], []], pa.list_(pa.string())),
        "share": pa.array([0.5, float("nan")], pa.float64()),
    }
)
pq.write_table(kinds, "kinds.parquet", compression="gzip")
for name in ["brotli", "lz4", "none"]:
    pq.write_table(rows.slice(0, 3), f"{name}.parquet", compression=name)
