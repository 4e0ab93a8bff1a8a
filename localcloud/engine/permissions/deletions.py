"""DeleteObjects: of each object that a request names its caller needs the permission, and S3 tells which it lacks.

An object that may not be deleted is an error inside of an answer of status 200, and the others are deleted (S3 API
Reference, DeleteObjects, "Permissions" and the response element Error).
"""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from defusedxml.ElementTree import fromstring

from localcloud.engine.permissions import actions
from localcloud.engine.permissions.decisions import Denial
from localcloud.engine.seams import Seams

s3 = Seams("services.s3", S3_NS="3b91d5a3", _delete_objects="cab7f9e1")

Answer = tuple[int, dict[str, str], bytes]
_denied: ContextVar[Mapping[tuple[str, str], Denial] | None] = ContextVar("denied", default=None)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    s3.replace("_delete_objects", _make_delete_objects)


def deny(denials: Iterable[Denial]) -> None:
    """Remember what the caller of the request that is at work may not delete."""
    _denied.set({(one.request.action, one.request.resource): one for one in denials})


def _make_delete_objects(original: Any) -> Any:
    def _delete_objects(bucket_name: str, body: bytes, headers: dict[str, str] | None = None) -> Answer:
        """Delete what may be deleted, and add what may not to the answer."""
        denied = _denied.get()
        _denied.set(None)
        if not denied:
            answer: Answer = original(bucket_name, body, headers)
            return answer
        document, errors = fromstring(body), list[tuple[Element, Denial]]()
        for element in list(document):
            needs = actions.of_deletion(bucket_name, element) if actions.tag(element) == "Object" else []
            if known := [one for each in needs if (one := denied.get((each.action, each.resource)))]:
                document.remove(element)
                errors.append((element, known[0]))
        status, answered, deleted = original(bucket_name, tostring(document), headers)
        return status, answered, _with(errors, deleted) if status == 200 else deleted

    return _delete_objects


def _with(errors: Iterable[tuple[Element, Denial]], answer: bytes) -> bytes:
    document = fromstring(answer)
    for element, denial in errors:
        error = SubElement(document, f"{{{s3.S3_NS}}}Error")
        named = {actions.tag(part): part.text for part in element}
        members = {name: named[name] for name in ("Key", "VersionId") if named.get(name)}
        for name, text in {**members, "Code": "AccessDenied", "Message": denial.text}.items():
            SubElement(error, f"{{{s3.S3_NS}}}{name}").text = text
    return bytes(tostring(document, "utf-8", xml_declaration=True, default_namespace=s3.S3_NS))
