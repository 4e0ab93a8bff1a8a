"""The local mailbox: what a topic sends to an e-mail address becomes a file that any mail program opens.

One file for each recipient and message, `<time>-<address>.eml`, an RFC 5322 message with the sender, subject and
footer that Amazon SNS uses. Nothing leaves the machine. An e-mail subscription counts as confirmed from the start; on
AWS its owner has to follow the link in the confirmation mail first.
"""

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from localcloud.disk import write_whole

_DEFAULT_SENDER = "AWS Notifications"
_DEFAULT_SUBJECT = "AWS Notification Message"
_SENDER_ADDRESS = "no-reply@sns.amazonaws.com"
_ADDRESS = re.compile(r"[^@\s<>,;:\"]+@[^@\s<>,;:\"]+")
_OF_ALARM = re.compile(r'(ALARM|OK|INSUFFICIENT_DATA): "')  # the subject that CloudWatch gives
_naming = threading.Lock()


@dataclass(frozen=True)
class Notification:
    """What a topic sends to one e-mail subscription.

    `text` is the message, or for the protocol email-json the whole envelope. `unsubscribe_url` ends the subscription.
    """

    topic_arn: str
    recipient: str
    text: str
    unsubscribe_url: str
    subject: str | None = None
    sender: str | None = None


@dataclass(frozen=True)
class Message:
    """A delivered message. `number` counts from 1, the oldest; `received` is an aware time."""

    number: int
    path: Path
    received: datetime
    recipient: str
    subject: str
    body: str


def compose(notification: Notification, now: datetime) -> EmailMessage:
    """Return the message as Amazon SNS would send it."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = formataddr((_one_line(notification.sender) or _DEFAULT_SENDER, _SENDER_ADDRESS))
    message["To"] = notification.recipient
    message["Subject"] = _one_line(notification.subject) or _DEFAULT_SUBJECT
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{uuid4()}@sns.localcloud>"
    message["X-Topic"] = notification.topic_arn
    message.set_content(_as_people_read_it(notification.text) + _footer(notification))
    return message


def folder(state: Path) -> Path:
    """Return the mailbox of a state folder."""
    return state / "mail"


def deliver(state: Path, notification: Notification) -> Path:
    """Write the message into the mailbox, whole or not at all, and return its file.

    Raises:
        ValueError: the recipient is not an address that a mail header can hold.
    """
    now = datetime.now(UTC)
    if not _ADDRESS.fullmatch(notification.recipient):
        raise ValueError(f"cannot address a mail to {notification.recipient!r}; expected name@domain")
    message = compose(notification, now)
    address = re.sub(r"[^A-Za-z0-9.@_+-]", "_", notification.recipient)[:100]
    with _naming:
        while (path := folder(state) / f"{now:%Y%m%dT%H%M%S.%fZ}-{address}.eml").exists():
            now += timedelta(microseconds=1)
        write_whole(path, message.as_bytes())
    return path


def messages(state: Path) -> list[Message]:
    """Return all messages in the order of their arrival; none if there is no mailbox yet."""
    return [_parse(number, path) for number, path in enumerate(sorted(folder(state).glob("*.eml")), start=1)]


def as_json(mail: Message) -> dict[str, Any]:
    """Return a mail for machines."""
    return {
        "number": mail.number, "to": mail.recipient, "received": mail.received, "subject": mail.subject,
        "file": mail.path,
    }  # fmt: skip


def latest(mails: Sequence[Message]) -> Sequence[Message]:
    """Return the newest mail that is no alarm's, and those of alarms since: of a run that fails both tell."""
    newest = next((mail for mail in reversed(mails) if not _OF_ALARM.match(mail.subject)), None)
    return mails[newest.number - 1 :] if newest else mails[-1:]


@cache  # a mail stays as it is, and who waits for one reads them all again and again
def _parse(number: int, path: Path) -> Message:
    """Read a mail. A subject that is folded at its start has no blank there (RFC 5322, section 2.2.3)."""
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    part = message.get_body(("plain",))
    return Message(
        number=number,
        path=path,
        received=datetime.strptime(path.name.split("-")[0], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC),
        recipient=str(message["To"]),
        subject=str(message["Subject"]).lstrip(),
        body=part.get_content().replace("\r\n", "\n") if part else "",
    )


def _as_people_read_it(text: str) -> str:
    """Return an alarm in lines, and any other text as it is.

    CloudWatch writes words to e-mail addresses and JSON to all others. Its words are not documented: these are our own.
    """
    try:
        alarm = json.loads(text)
        trigger = alarm["Trigger"]
        lines = {
            "Alarm": alarm["AlarmName"],
            "State": f"{alarm['NewStateValue']} (before: {alarm['OldStateValue']})",
            "Reason": alarm["NewStateReason"],
            "Time": alarm["StateChangeTime"],
            "Metric": f"{trigger['MetricName']} ({trigger['Namespace']})",
        }
        description = alarm.get("AlarmDescription") or ""
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return "\n".join([*(f"{name:<8}{_one_line(str(value))}" for name, value in lines.items()), "", description])


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _footer(notification: Notification) -> str:
    return (
        "\n\n--\n"
        "If you wish to stop receiving notifications from this topic, please click or visit the link below to "
        f"unsubscribe:\n{notification.unsubscribe_url}\n\n"
        "Please do not reply directly to this email. This is the mailbox of a local cloud: no mail was sent.\n"
    )
