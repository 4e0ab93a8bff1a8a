"""Dealing what trains to hosts."""

from pathlib import Path

from perennial.data.shares import share_out


def test_a_file_of_fewer_lines_than_hosts_makes_fewer_files_and_none_without_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    parts = {"part-00000.csv": b"1,a\n2,b\n3,c\n4,d\n5,e\n", "part-00001.csv": b"6,f\n7,g"}
    for name, lines in parts.items():
        (folder / name).write_bytes(lines)
    share_out(folder, 3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "part-00000.csv": b"1,a\n4,d\n",
        "part-00001.csv": b"2,b\n5,e\n",
        "part-00002.csv": b"3,c\n",
        "part-00003.csv": b"6,f\n",
        "part-00004.csv": b"7,g",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
