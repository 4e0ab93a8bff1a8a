"""The local mailbox: files that any mail program opens."""

import json
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from localcloud import mailbox
from localcloud.__main__ import main

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


# The header of a mail is folded from 78 characters on; of these two Python folds one at its start.
@pytest.mark.parametrize("subject", ["Model in service: auc 0.841 [perennial-telco-churn]", f"{'drift ' * 12}ends"])
def test_a_subject_is_told_as_it_was_given(tmp_path: Path, subject: str) -> None:
    mailbox.deliver(tmp_path, changed(subject=subject))

    assert mailbox.messages(tmp_path)[0].subject == subject


# As MiniStack's CloudWatch tells a topic.
ALARM = {
    "AlarmName": "perennial-used-cars-failed-runs",
    "AlarmDescription": "A run failed or was out of time. What to do: read that mail.",
    "NewStateValue": "ALARM",
    "NewStateReason": "Threshold crossed: 1 datapoint [1.0] was greater than the threshold (0.0).",
    "StateChangeTime": "2026-11-28T20:00:00Z",
    "OldStateValue": "OK",
    "Trigger": {"MetricName": "RunsFailed", "Namespace": "Perennial", "Threshold": 0},
}
ALARM_SUBJECT = 'ALARM: "perennial-used-cars-failed-runs" in us-east-1'


def test_an_alarm_is_told_in_lines_and_not_as_json(tmp_path: Path) -> None:
    mailbox.deliver(tmp_path, changed(text=json.dumps(ALARM), subject=ALARM_SUBJECT))

    assert mailbox.messages(tmp_path)[0].body.startswith(
        "Alarm   perennial-used-cars-failed-runs\n"
        "State   ALARM (before: OK)\n"
        "Reason  Threshold crossed: 1 datapoint [1.0] was greater than the threshold (0.0).\n"
        "Time    2026-11-28T20:00:00Z\n"
        "Metric  RunsFailed (Perennial)\n"
        "\nA run failed or was out of time. What to do: read that mail.\n"
    )


@pytest.mark.parametrize("text", ['{"AlarmName": "a"}', "[1]", "7", "{", "[" * 100_000])
def test_what_is_no_alarm_is_told_as_it_is(tmp_path: Path, text: str) -> None:
    mailbox.deliver(tmp_path, changed(text=text))

    assert mailbox.messages(tmp_path)[0].body.startswith(f"{text}\n")


@pytest.mark.parametrize(
    ("came", "shown"),
    [
        (["Model in service", "Run failed"], ["Run failed"]),
        (["Model in service", "Run failed", ALARM_SUBJECT], ["Run failed", ALARM_SUBJECT]),
        (["Model in service", ALARM_SUBJECT, "Run failed"], ["Run failed"]),
        ([ALARM_SUBJECT, ALARM_SUBJECT], [ALARM_SUBJECT]),
    ],
)
def test_the_latest_mail_is_the_runs_and_then_what_alarms_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], came: list[str], shown: list[str]
) -> None:
    for subject in came:
        mailbox.deliver(tmp_path, changed(subject=subject))

    assert main(["mail", "--latest", "--state", str(tmp_path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: ")] == shown


def test_before_the_first_mail_there_is_no_latest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mail", "--latest", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: No mail: there is no mail yet in {tmp_path / 'mail'}.\n"


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


def test_mails_are_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mailbox.deliver(tmp_path, changed(subject="one"))
    assert main(["mail", "--json", "--state", str(tmp_path)]) == 0
    [mail] = json.loads(capsys.readouterr().out)
    assert (mail["number"], mail["subject"], mail["file"]) == (1, "one", str(mailbox.messages(tmp_path)[0].path))
    assert main(["mail", "--latest", "--json", "--state", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == [{**mail, "body": mailbox.messages(tmp_path)[0].body}]


def test_a_local_cloud_that_is_down_is_json_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--state", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == {"status": "down", "state": str(tmp_path)}
    assert main(["down", "--json", "--state", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": False, "state": str(tmp_path)}
