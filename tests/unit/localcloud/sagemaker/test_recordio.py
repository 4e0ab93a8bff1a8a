"""RecordIO-protobuf. The records are what the SDK has written (`write_numpy_to_dense_tensor` and its like)."""

import struct
from pathlib import Path

import numpy as np
import pytest

from localcloud.sagemaker.algorithms import recordio, training_data
from localcloud.sagemaker.algorithms.training_container import CustomerError

FLOAT32 = "0a23d7ce2c0000000a160a0676616c756573120c120a0a080000803f0000204012120a0676616c756573120812060a0400004040"
FLOAT64 = (
    "0a23d7ce380000000a1e0a0676616c75657312141a120a10000000000000f03f0000000000000440"
    "12160a0676616c756573120c1a0a0a080000000000000840"
)
INT32 = (
    "0a23d7ce2d0000000a190a0676616c756573120f3a0d0a0b01feffffffffffffffff0112100a0676616c75657312063a040a02ac02000000"
)
NO_LABEL = "0a23d7ce180000000a160a0676616c756573120c120a0a080000803f00002040"
SPARSE = (
    "0a23d7ce330000000a1d0a0676616c756573121312110a080000e0400000803f120202041a0105"
    "12120a0676616c756573120812060a040000803f00"
)


@pytest.mark.parametrize(
    ("written", "features", "label"),
    [
        (FLOAT32, [1, 2.5], 3),
        (FLOAT64, [1, 2.5], 3),
        (INT32, [1, -2], 300),
        (NO_LABEL, [1, 2.5], None),
        (SPARSE, [0, 0, 7, 0, 1], 1),
    ],
    ids=["float32", "float64", "int32", "no label", "sparse"],
)
def test_records_of_the_sdk_are_read(written: str, features: list[float], label: float | None) -> None:
    first, second = recordio.read(bytes.fromhex(written) * 2)

    assert first.features.tolist() == second.features.tolist() == features
    assert first.label == second.label == label


def test_answers_are_records_with_named_labels() -> None:
    """The SDK's RecordDeserializer reads these bytes as score 1.5 and predicted_label 1."""
    answer = recordio.write([{"score": 1.5, "predicted_label": 1}])

    assert answer.hex() == (
        "0a23d7ce3000000012110a0573636f7265120812060a040000c03f"
        "121b0a0f7072656469637465645f6c6162656c120812060a040000803f"
    )


@pytest.mark.parametrize("count", [3, 31, 32, 5_000])
def test_a_list_of_scores_is_one_label_however_long_it_is(count: int) -> None:
    """An entry of a map is the same for labels, field 2 of a record, and for features, field 1, which are read here."""
    scores = np.arange(count, dtype=np.float32)
    answer = bytearray(recordio.write([{"values": scores.tolist()}]))
    assert answer[8] == 0x12
    answer[8] = 0x0A
    (read,) = recordio.read(bytes(answer))
    assert read.features.tolist() == scores.tolist()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"1,2,3\n4,5,6\n", "it is not RecordIO"),
        (bytes.fromhex(FLOAT32)[:6], "it ends within a record's header"),
        (bytes.fromhex(FLOAT32)[:20], "it ends within a record"),
        (struct.pack("<II", 0xCED7230A, 4) + b"\x0a\x7fab", "record 0 is not readable: it ends within a field"),
        (struct.pack("<II", 0xCED7230A, 12) + b"\xff" * 12, "record 0 is not readable: a number has more than 64 bits"),
        (struct.pack("<II", 0xCED7230A, 1) + b"\x0a\0\0\0", "record 0 is not readable"),
        (bytes.fromhex(FLOAT32.replace("120a0a08", "4a0a0a08")), "it holds bytes, expected numbers"),
    ],
)
def test_no_record_says_why(data: bytes, why: str) -> None:
    with pytest.raises(recordio.RecordError, match=why):
        list(recordio.read(data))


def test_a_file_is_a_block_of_rows(tmp_path: Path) -> None:
    (tmp_path / "a.pbr").write_bytes(bytes.fromhex(FLOAT32 + FLOAT64))

    (block,) = training_data.read_recordio([tmp_path / "a.pbr"])

    np.testing.assert_array_equal(block, np.array([[3, 1, 2.5], [3, 1, 2.5]], dtype=np.float32))


@pytest.mark.parametrize("second", [NO_LABEL, SPARSE], ids=["no label", "other features"])
def test_records_of_a_file_are_alike(tmp_path: Path, second: str) -> None:
    (tmp_path / "a.pbr").write_bytes(bytes.fromhex(FLOAT32 + second))

    with pytest.raises(CustomerError, match=r"record 1 of a\.pbr has .* expected 2 features and a label"):
        list(training_data.read_recordio([tmp_path / "a.pbr"]))
