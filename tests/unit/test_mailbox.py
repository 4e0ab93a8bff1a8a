"""The local mailbox: files that any mail program opens."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from localcloud import mailbox

NOTIFICATION = mailbox.Notification(
    topic_arn="arn:aws:sns:us-east-1:000000000000:alerts",
    recipient="ada@example.com",
    text="The model costs 2 100 €.\nFrom here on: nothing.\n.\n",
    unsubscribe_url="http://127.0.0.1:4566/?Action=Unsubscribe",
    subject="Model in service",
    sender="Perennial",
)


def changed(**fields: str | None) -> mailbox.Notification:
    return mailbox.Notification(**{**vars(NOTIFICATION), **fields})


def test_a_message_has_the_headers_of_a_mail_from_a_topic(tmp_path: Path) -> None:
    path = mailbox.deliver(tmp_path, NOTIFICATION)

    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert message["From"] == "Perennial <no-reply@sns.amazonaws.com>"
    assert message["To"] == "ada@example.com"
    assert message["Subject"] == "Model in service"
    assert abs((datetime.now(UTC) - message["Date"].datetime).total_seconds()) < 60
    assert message["Message-ID"]
    assert not message.defects
    assert b"\r\n" in path.read_bytes()


def test_the_text_arrives_unchanged_before_the_footer(tmp_path: Path) -> None:
    mailbox.deliver(tmp_path, NOTIFICATION)

    body = mailbox.messages(tmp_path)[0].body
    assert body.startswith(NOTIFICATION.text)
    assert "--\nIf you wish to stop receiving notifications" in body
    assert NOTIFICATION.unsubscribe_url in body


def test_a_topic_without_names_uses_those_of_sns(tmp_path: Path) -> None:
    path = mailbox.deliver(tmp_path, changed(subject=None, sender=""))

    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert message["From"] == "AWS Notifications <no-reply@sns.amazonaws.com>"
    assert message["Subject"] == "AWS Notification Message"


def test_line_breaks_in_a_subject_cannot_add_headers(tmp_path: Path) -> None:
    path = mailbox.deliver(tmp_path, changed(subject="All well\r\nBcc: eve@example.com"))

    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert message["Subject"] == "All well Bcc: eve@example.com"
    assert message["Bcc"] is None


def test_messages_are_numbered_in_the_order_of_arrival(tmp_path: Path) -> None:
    for subject in ("one", "two", "three"):
        mailbox.deliver(tmp_path, changed(subject=subject))

    found = mailbox.messages(tmp_path)

    assert [(message.number, message.subject) for message in found] == [(1, "one"), (2, "two"), (3, "three")]
    assert found[0].received <= found[1].received <= found[2].received
    assert sorted(path.name for path in mailbox.folder(tmp_path).iterdir()) == [m.path.name for m in found]


def test_an_address_cannot_leave_the_folder(tmp_path: Path) -> None:
    path = mailbox.deliver(tmp_path, changed(recipient="../../up@example.com"))

    assert path.parent == mailbox.folder(tmp_path)


@pytest.mark.parametrize("recipient", ["ada@example.com\nBcc: eve@example.com", ""])
def test_what_is_not_an_address_is_refused(tmp_path: Path, recipient: str) -> None:
    with pytest.raises(ValueError, match="cannot address a mail"):
        mailbox.deliver(tmp_path, changed(recipient=recipient))
    assert mailbox.messages(tmp_path) == []


def test_there_are_no_messages_before_the_first(tmp_path: Path) -> None:
    assert mailbox.messages(tmp_path / "nowhere") == []
