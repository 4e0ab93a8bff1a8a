"""Which objects below the data prefix are no data: what programs leave beside the files that people mean.

Names are read as Spark, Hive and Athena read a folder: what begins with `_` or `.` is hidden, a folder with all that is
in it, but for folders of a partition column such as `_day=1` (Apache Spark, `HadoopFSUtils.shouldFilterOutPathName`).
"""

from __future__ import annotations

import re

MARKER = "a folder marker"
EMPTY = "an empty object"
HIDDEN = "hidden: {name!r} begins with {first!r}"
UNFINISHED = "an unfinished copy or a temporary file"
# What desktops and office programs write into folders by themselves; what begins with a point is hidden anyway.
_DESKTOP = {
    "a thumbnail or folder setting of a desktop": re.compile(r"(eh)?thumbs(_vista)?\.db|desktop\.ini|icon\r", re.I),
    "a lock file of an office program": re.compile(r"~\$.*|~lock\..*#", re.S),
    "a checksum file": re.compile(r".*\.crc", re.I | re.S),
    UNFINISHED: re.compile(r".*(\.tmp|\.crdownload|\._copying_)", re.I | re.S),
}
_FOLDER_OF_HADOOP = "_$folder$"


def reason(key: str, prefix: str = "") -> str | None:
    """Return why the name of an object says that it is no data, or None when it may be; its content does not count.

    Only what stands below the prefix counts.
    """
    if key.endswith(("/", _FOLDER_OF_HADOOP)):
        return MARKER
    *folders, name = key.removeprefix(prefix).split("/")
    hidden = [part for part in folders if part.startswith(("_", ".")) and not ("=" in part and part[0] == "_")]
    if name.startswith(("_", ".")):
        hidden.append(name)
    if hidden:
        return HIDDEN.format(name=hidden[0], first=hidden[0][0])
    return next((what for what, form in _DESKTOP.items() if form.fullmatch(name)), None)
