"""SNS: subscriptions by e-mail deliver to the mailbox, where MiniStack only logs them."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from localcloud import mailbox
from localcloud.engine.seams import Seams

sns = Seams(
    "services.sns",
    _build_envelope="a0891249",
    _fanout="19fcc6ad",
    _matches_filter_policy="bc81fb71",
    _resolve_message_for_protocol="893b4209",
    _topic_by_arn_any_scope="b274fbbc",
)

JsonObject = dict[str, Any]
_PROTOCOLS = ("email", "email-json")
logger = logging.getLogger(__name__)


class Outbox:
    """Mails on their way into the mailbox, in order. One that finds no room waits until `flush` has written it."""

    def __init__(self, state: Path, waits: Callable[[], None]) -> None:
        self._state, self._waits = state, waits
        self._mails: deque[mailbox.Notification] = deque()
        self._flushing = threading.Lock()

    def send(self, mail: mailbox.Notification) -> None:
        """Write a mail, or have it wait; `waits` is called then."""
        self._mails.append(mail)
        try:
            self.flush()
        except OSError:
            logger.exception("the mail to %s waits", mail.recipient)
            self._waits()

    def flush(self) -> None:
        """Write what waits. Raises OSError: it waits on."""
        with self._flushing:
            while self._mails:
                mail = self._mails[0]
                try:
                    logger.info("mail to %s: %s", mail.recipient, mailbox.deliver(self._state, mail))
                except ValueError:
                    logger.exception("no mail to %s", mail.recipient)
                self._mails.popleft()


def register(outbox: Outbox, endpoint_url: str) -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""

    def make(original: Any) -> Any:
        def fanout(
            topic_arn: str,
            msg_id: str,
            message: str,
            subject: str,
            message_structure: str = "",
            message_attributes: JsonObject | None = None,
            **fifo: Any,
        ) -> None:
            original(topic_arn, msg_id, message, subject, message_structure, message_attributes, **fifo)
            _deliver(
                outbox, endpoint_url, topic_arn, msg_id, message, subject, message_structure, message_attributes or {}
            )

        return fanout

    sns.replace("_fanout", make)


def _deliver(
    outbox: Outbox,
    endpoint_url: str,
    topic_arn: str,
    message_id: str,
    message: str,
    subject: str,
    structure: str,
    attributes: JsonObject,
) -> None:
    topic = sns._topic_by_arn_any_scope(topic_arn) or {}
    for subscription in topic.get("subscriptions", []):
        protocol = subscription.get("protocol")
        if protocol not in _PROTOCOLS or not subscription.get("confirmed"):
            continue
        text = sns._resolve_message_for_protocol(message, structure, protocol)
        if not sns._matches_filter_policy(subscription, attributes, text):
            continue
        if protocol == "email-json":
            text = sns._build_envelope(topic_arn, message_id, text, subject, attributes, False)
        outbox.send(
            mailbox.Notification(
                topic_arn=topic_arn,
                recipient=subscription["endpoint"],
                text=text,
                unsubscribe_url=_unsubscribe_url(endpoint_url, subscription["arn"]),
                subject=subject,
                sender=topic.get("attributes", {}).get("DisplayName"),
            )
        )


def _unsubscribe_url(endpoint_url: str, subscription_arn: str) -> str:
    query = {"Action": "Unsubscribe", "Version": "2010-03-31", "SubscriptionArn": subscription_arn}
    return f"{endpoint_url}/?{urlencode(query)}"
