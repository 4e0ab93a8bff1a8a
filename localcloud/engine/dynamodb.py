"""Items of DynamoDB tables on the disk: a file for each table, to which every change is added when it is made.

What a change costs does not depend on how large the table is. MiniStack puts a new object in the place of an item that
changes, so that those that have changed are found by their identity. It copies items often, which is made quick here.
"""

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

from localcloud import disk
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

responses = Seams("core.responses", AccountRegionScopedDict="bf2a9ac0")
dynamodb = Seams(
    "services.dynamodb",
    _items_replaced="9ceca301",
    _restore_state="8786e83a",
    _tables="ddecc1c0",
    copy="ab907d63",
    get_state="7bcacd9a",
)

JsonObject = dict[str, Any]
Key = tuple[str, str]
_SLACK = 1000  # lines that a file may have beside twice the lines that it needs


class TableFile:
    """The items of one table. A line is the two parts of a key, and the item, or null when it was deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[Key, JsonObject] = {}
        self._lines: int | None = None  # what is there is not known

    def load(self) -> dict[Key, JsonObject]:
        self._lines = 0
        for hash_key, range_key, item in disk.documents(self._path):
            self._lines += 1
            if item is None:
                self._written.pop((hash_key, range_key), None)
            else:
                self._written[hash_key, range_key] = item
        return dict(self._written)

    def save(self, items: dict[Key, JsonObject]) -> None:
        """Write what has changed. Raises OSError: there is no room, and the file is as it was."""
        changed = {key: item for key, item in items.items() if self._written.get(key) is not item}
        deleted = dict.fromkeys(key for key in self._written if key not in items)
        if self._lines is None or self._lines + len(changed) > 2 * len(items) + _SLACK:
            disk.write_whole(self._path, _lines(items))
            self._lines = len(items)
        elif changed or deleted:
            disk.append(self._path, _lines({**changed, **deleted}))
            self._lines += len(changed) + len(deleted)
        self._written = items


def _lines(items: Any) -> bytes:
    return b"".join(disk.line([*key, item]) for key, item in items.items())


class Tables:
    """The files of all tables, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str, str], TableFile] = {}

    def register(self) -> None:
        """Replace the seams. MiniStack must be importable (the environment is set)."""
        dynamodb.replace("copy", lambda _: _Copies)
        dynamodb.replace("get_state", _make_get_state)
        dynamodb.replace("_restore_state", self._make_restore_state)

    def _make_restore_state(self, original: Any) -> Any:
        def restore_state(data: JsonObject) -> None:
            """Take the items from the files; a version before this one has saved them with their table."""
            original(data)
            for key, table in dynamodb._tables.all_items():
                if self._path(key).exists():
                    table["items"] = defaultdict(dict)
                    for (hash_key, range_key), item in self._file(key).load().items():
                        table["items"][hash_key][range_key] = item
                    dynamodb._items_replaced(table)

        return restore_state

    def save(self) -> None:
        """Write what has changed. Raises OSError: there is no room for it."""
        tables = dict(dynamodb._tables.all_items())
        for key in [key for key in self._files if key not in tables]:
            self._path(key).unlink(missing_ok=True)
            del self._files[key]
        for key, table in tables.items():
            self._file(key).save(_items(table))

    def _file(self, key: tuple[str, str, str]) -> TableFile:
        return self._files.setdefault(key, TableFile(self._path(key)))

    def _path(self, key: tuple[str, str, str]) -> Path:
        return disk.lines_of(self._folder, *key)


class _Copies:
    """What MiniStack uses of the module `copy`. Items are JSON, which needs no memory of what was copied already."""

    @staticmethod
    def deepcopy(value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return {name: _Copies.deepcopy(member) for name, member in value.items()}
        if kind is list:
            return [_Copies.deepcopy(member) for member in value]
        return value if kind is str else copy.deepcopy(value)


def _items(table: JsonObject) -> dict[Key, JsonObject]:
    """By their keys; lists, because others may change the table meanwhile."""
    return {
        (first, second): item for first, some in list(table["items"].items()) for second, item in list(some.items())
    }


def _make_get_state(original: Any) -> Any:
    def get_state() -> JsonObject:
        """Return what MiniStack saves of DynamoDB, without the items and their number."""
        tables = responses.AccountRegionScopedDict()
        for key, table in dynamodb._tables.all_items():
            tables.set_scoped(*key, {**table, "items": {}, "ItemCount": 0, "TableSizeBytes": 0})
        state: JsonObject = rebound(original, _tables=tables)()
        return state

    return get_state
