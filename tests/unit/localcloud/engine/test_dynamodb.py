"""Items of tables on the disk: changes are added, and the next start finds what there was."""

from pathlib import Path
from typing import Any

from localcloud.engine.dynamodb import TableFile

Items = dict[tuple[str, str], dict[str, Any]]


def items(*numbers: int) -> Items:
    return {(str(number), ""): {"id": {"S": str(number)}} for number in numbers}


def test_changes_are_found_again(tmp_path: Path) -> None:
    file, first = TableFile(tmp_path / "table"), items(1, 2, 3)
    file.save(first)
    second = {**first, ("2", ""): {"id": {"S": "2"}, "new": {"S": "x"}}, **items(4)}
    del second["1", ""]
    file.save(second)

    assert TableFile(tmp_path / "table").load() == second


def test_a_change_is_added_and_nothing_else_is_written(tmp_path: Path) -> None:
    path = tmp_path / "table"
    file, many = TableFile(path), items(*range(5000))
    file.save(many)
    before = path.read_bytes()

    file.save({**many, ("7", ""): {"id": {"S": "7"}, "new": {"S": "x"}}})

    assert path.read_bytes() == before + b'["7", "", {"id": {"S": "7"}, "new": {"S": "x"}}]\n'


def test_a_torn_line_is_left_out_and_what_is_added_later_holds(tmp_path: Path) -> None:
    path = tmp_path / "table"
    TableFile(path).save(items(1))
    with path.open("ab") as torn:
        torn.write(b'["2", "", {"i')
    file = TableFile(path)
    known = file.load()
    assert known == items(1)

    file.save({**known, **items(3)})

    assert TableFile(path).load() == items(1, 3)


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "table"
    file = TableFile(path)
    for number in range(3000):
        file.save({("1", ""): {"id": {"S": "1"}, "number": {"N": str(number)}}})

    assert len(path.read_text().splitlines()) < 1100
    assert TableFile(path).load()["1", ""]["number"] == {"N": "2999"}


def test_an_empty_table_hides_what_a_deleted_one_of_its_name_has_left(tmp_path: Path) -> None:
    TableFile(tmp_path / "table").save(items(1))

    TableFile(tmp_path / "table").save({})

    assert TableFile(tmp_path / "table").load() == {}
