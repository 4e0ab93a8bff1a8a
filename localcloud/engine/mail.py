"""SNS: subscriptions by e-mail deliver to the mailbox, where MiniStack only logs them."""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from localcloud import mailbox
from localcloud.engine.seams import replace

JsonObject = dict[str, Any]
_PROTOCOLS = ("email", "email-json")
log = logging.getLogger("localcloud.mail")


def register(state: Path, endpoint_url: str) -> None:
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
                state, endpoint_url, topic_arn, msg_id, message, subject, message_structure, message_attributes or {}
            )

        return fanout

    replace("services.sns", "_fanout", make)


def _deliver(
    state: Path,
    endpoint_url: str,
    topic_arn: str,
    message_id: str,
    message: str,
    subject: str,
    structure: str,
    attributes: JsonObject,
) -> None:
    from ministack.services import sns

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
        notification = mailbox.Notification(
            topic_arn=topic_arn,
            recipient=subscription["endpoint"],
            text=text,
            unsubscribe_url=_unsubscribe_url(endpoint_url, subscription["arn"]),
            subject=subject,
            sender=topic.get("attributes", {}).get("DisplayName"),
        )
        try:
            log.info("mail to %s: %s", notification.recipient, mailbox.deliver(state, notification))
        except (OSError, ValueError):
            log.exception("no mail to %s", notification.recipient)


def _unsubscribe_url(endpoint_url: str, subscription_arn: str) -> str:
    query = {"Action": "Unsubscribe", "Version": "2010-03-31", "SubscriptionArn": subscription_arn}
    return f"{endpoint_url}/?{urlencode(query)}"
