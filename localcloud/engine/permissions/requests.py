"""Permissions of requests over HTTP: what functions, jobs and models ask of AWS with the credentials of their role.

MiniStack finds a request's action and resource, authenticates the caller and evaluates the policies. Added here: the
services and the further permissions of `actions.py`, AWS's whole sentence in the answer, a refusal of what nobody has
mapped, wildcards that stand for line feeds too, and the ledger. All hooks of one request run one after the other in its
own context.
"""

import json
import logging
import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape

from localcloud.engine import operations
from localcloud.engine.moment import moment
from localcloud.engine.permissions import actions, deletions, guests, owners, resources
from localcloud.engine.permissions.actions import Needs, NotMappedError, Place
from localcloud.engine.permissions.decisions import PARSED, Denial, check, ledger, request
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

ministack_app = Seams(
    "app",
    _credential_failure="179c3d03",
    _decompress_request_body="f9c0320b",
    _dispatch_service_request="941ca11a",
    _handle_s3_vhost_request="9aba5a97",
    _handle_special_data_plane_request="b4d2374d",
    _parse_execute_api_url="5d105d57",
    _routing_params="f998243d",
    _with_data_plane_headers="70ebbac9",
    detect_service="e264c9da",
    pin_request_origin="8883e72a",
)
iam_actions = Seams(
    "core.iam_actions",
    SERVICE_TO_IAM_NAMESPACE="e9b3d663",
    _s3_action="7c7a7fb0",
    access_denied_response="89ad5588",
    extract_iam_action="016f42aa",
    extract_resource_arn="ed1944a5",
    request_tag_context="4a11338b",
    s3_additional_checks="54b96959",
    s3_service_context="ef23581a",
)
iam_evaluator = Seams(
    "core.iam_evaluator",
    AuthError="7b582688",
    EvalContext="9efc6ac6",
    EvalResult="287ee31c",
    _fnmatch_compile="83529dd8",
    _names_condition_key="9e37603a",
    _resolve_condition_key="805e8af9",
    authenticate="22665084",
    enforce="e234934f",
    evaluate="91998ec6",
    evaluate_resource_policy="32ba312e",
    is_root_access_key="68ab8ee2",
    parse_policy_document="9d72ae04",
    resolve_principal="8d0a9633",
)
responses = Seams("core.responses", get_account_id="270e1115", set_request_account_id="3015b909")
router = Seams("core.router", extract_access_key_id="73d8c373", extract_region="a5a7a981")
s3 = Seams(
    "services.s3", _copy_source_denied="53747334", _merge_hoisted_amz_headers="cfc80f69", _parse_bucket_key="7d747b7b"
)
sts = Seams("services.sts", _sessions="c712c346")

JsonObject = dict[str, Any]
logger = logging.getLogger(__name__)

_UNMAPPED = ":NotMapped"
_SIGNATURE = 64  # characters, where nothing follows a signature
_CODES = {"sns": "KMSAccessDenied", "sqs": "KMS.AccessDeniedException", "states": "KmsAccessDeniedException"}
"""What a service answers when the key refuses; the others answer as for their own actions."""

_GET_PUT, _ALL = "GET PUT", "GET PUT DELETE"
_OF_OBJECT = {
    "acl": _GET_PUT,
    "annotation": _ALL,
    "attributes": "GET",
    "legal-hold": _GET_PUT,
    "restore": "POST",
    "retention": _GET_PUT,
    "tagging": _ALL,
    "uploadId": "GET PUT POST DELETE",
    "uploads": "POST",
}
_OF_BUCKET = {
    **dict.fromkeys(("accelerate", "acl", "logging", "notification", "object-lock", "versioning"), _GET_PUT),
    **dict.fromkeys(
        ("cors", "encryption", "lifecycle", "ownershipControls", "policy", "publicAccessBlock", "replication",
         "tagging", "website"),
        _ALL,
    ),
    "delete": "POST",
    "location": "GET",
    "requestPayment": "PUT",
    "uploads": "GET",
    "versions": "GET",
}  # fmt: skip
"""What of an object and of a bucket S3 of MiniStack has -> the methods by which. Without it, it does something else: it
takes `DELETE /bucket?metrics` for the deletion of the bucket."""
_SUBRESOURCES = {
    *_OF_OBJECT, *_OF_BUCKET, "abac", "analytics", "encryption", "intelligent-tiering", "inventory",
    "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics",
    "policyStatus", "renameObject", "request-payment", "select", "session", "torrent", "updateObjectEncryption",
}  # fmt: skip
"""Amazon S3 API Reference, the request syntax of its operations."""

_call: ContextVar[operations.Call | None] = ContextVar("call", default=None)
_action: ContextVar[str] = ContextVar("action", default="")
_own: ContextVar[str] = ContextVar("own", default="")
"""The action that the request needs instead of the one that MiniStack asks for; for the first question only."""
_one_by_one: ContextVar[bool] = ContextVar("one_by_one", default=False)  # each need is answered for itself
_further: ContextVar[tuple[Needs, ...]] = ContextVar("further", default=())
_denial: ContextVar[Denial | None] = ContextVar("denial", default=None)
_unmapped: ContextVar[str] = ContextVar("unmapped", default="")
_limits: ContextVar[tuple[Any, ...]] = ContextVar("limits", default=())  # what bounds whoever asks
_guest: ContextVar[str] = ContextVar("guest", default="")
"""The account of whoever asks, if it is another one than that in which the request is carried out."""


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set, AUTH with it)."""
    guests.register()
    deletions.register()
    iam_actions.replace("extract_iam_action", _make_extract_iam_action)
    iam_actions.replace("extract_resource_arn", _make_extract_resource_arn)
    iam_actions.replace("_s3_action", _make_s3_action)
    iam_actions.replace("s3_additional_checks", _make_s3_additional_checks)
    iam_actions.replace("request_tag_context", _make_request_tag_context)
    iam_actions.replace("s3_service_context", _make_s3_service_context)
    iam_actions.replace("access_denied_response", _make_access_denied_response)
    iam_evaluator.replace("enforce", _make_enforce)
    iam_evaluator.replace("_fnmatch_compile", lambda _: _wildcards)
    iam_evaluator.replace("_names_condition_key", _make_names_condition_key)
    iam_evaluator.replace("resolve_principal", _make_resolve_principal)
    iam_evaluator.replace("_resolve_condition_key", _make_resolve_condition_key)
    iam_evaluator.replace("parse_policy_document", _make_parse_policy_document)
    iam_evaluator.replace("evaluate_resource_policy", _make_evaluate_resource_policy)
    ministack_app.replace("pin_request_origin", _make_pin_request_origin)
    s3.replace("_copy_source_denied", lambda _: lambda *_: None)  # it knows of roles their accounts alone
    ministack_app.replace("_dispatch_service_request", _make_dispatch_service_request)
    ministack_app.replace("_handle_special_data_plane_request", _make_handle_special_data_plane_request)


def _make_extract_iam_action(original: Any) -> Any:
    def extract_iam_action(
        service: str, method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject
    ) -> str:
        """Return the action; what is not known, only root may do, whatever a policy says of all actions."""
        _unmapped.set("")
        action = _action_of(service, method, path, headers, query_params) or _not_mapped(service, method, path)
        _action.set(action)
        return action

    return extract_iam_action


def _not_mapped(service: str, method: str, path: str) -> str:
    """Return the action of a request that nobody has mapped."""
    _unmapped.set(f"{method} {path} of {service}")
    return f"{service}{_UNMAPPED}"


def _action_of(service: str, method: str, path: str, headers: JsonObject, query: JsonObject) -> str:
    """Return the action of a request, empty if nobody has mapped it; MiniStack would ask a parameter of any."""
    if service == "s3":
        return f"s3:{iam_actions._s3_action(method, path, query)}"
    if service == "sagemaker":
        operation, _ = operations.sagemaker(method, path, headers)
        return f"sagemaker:{operation}" if operation else ""
    call = _call.get()
    namespace = iam_actions.SERVICE_TO_IAM_NAMESPACE.get(service, service)
    return resources.action_of(call, namespace) if call and call.service == service else ""


def _make_extract_resource_arn(original: Any) -> Any:
    def extract_resource_arn(
        service: str, method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject,
        region: str, account_id: str,
    ) -> str:  # fmt: skip
        """Return the resource of the request's own action; the further permissions wait for `enforce`."""
        _own.set("")
        _further.set(())
        _one_by_one.set(False)
        _denial.set(None)
        place = Place(region, _guest.get() or account_id)
        try:
            if service == "s3":
                arn, further = _for_s3(method, path, headers, body, query_params)
            else:
                arn, further = _needs(service, (method, path, headers, body), place)
        except NotMappedError as error:
            _unmapped.set(str(error))
            return "*"
        _further.set(tuple(further))
        return arn

    return extract_resource_arn


def _needs(service: str, parts: tuple[str, str, JsonObject, bytes], place: Place) -> tuple[str, list[Needs]]:
    """Return the resource of a request's own action, and what it needs further."""
    method, path, headers, body = parts
    call, action = _call.get(), _action.get()
    if service == "sagemaker":
        operation, endpoint = operations.sagemaker(method, path, headers)
        named = {"EndpointName": endpoint} if endpoint else _json(body)
        if group := operations.feature_record(method, path)[1]:
            named = {"FeatureGroupName": group}
        own, *further = actions.sagemaker(operation, named, place)
        return own.resource, further
    if call is None or call.service != service:
        return "*", []  # not mapped
    arns = resources.resources_of(call, place)
    further = [Needs(action, other) for other in arns[1:]]
    for arn in [*arns, *resources.tables_of_transaction(call, place)]:
        further += _keys_of(service, action, arn)
    if service == "application-autoscaling":
        further += actions.for_autoscaling(call.operation, call.members, place)
    if service == "states":
        further += actions.for_states(action, call.members)
    return arns[0], further


def _keys_of(service: str, action: str, arn: str) -> list[Needs]:
    further_of = {"sns": _for_sns, "sqs": actions.for_sqs, "dynamodb": actions.for_dynamodb}.get(service)
    return further_of(action, arn) if further_of else []


def _for_s3(method: str, path: str, headers: JsonObject, body: bytes, query: JsonObject) -> tuple[str, list[Needs]]:
    """Count what an address presigns as its parameters as the headers that they stand for."""
    bucket, key = s3._parse_bucket_key(path, headers)
    action = f"s3:{iam_actions._s3_action(method, path, query)}"
    if method == "POST" and action == "s3:DeleteObject" and (needs := actions.for_s3_deletions(path, body)):
        _one_by_one.set(True)
        _own.set(needs[0].action)
        return needs[0].resource, needs[1:]
    arn = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}" if bucket else "*"
    return arn, actions.for_s3(action, method, path, s3._merge_hoisted_amz_headers(headers, query), query)


def _for_sns(action: str, arn: str) -> list[Needs]:
    return actions.for_sns_publish(arn) if action == "sns:Publish" else []


def _make_s3_action(original: Any) -> Any:
    def s3_action(method: str, path: str, query_params: JsonObject) -> str:
        """Return the action of what S3 does; MiniStack asks for no permission where there is none."""
        action = known_action(method, path, query_params) or _not_mapped("s3", method, path)
        return action.removeprefix("s3:")

    def known_action(method: str, path: str, query_params: JsonObject) -> str | None:
        """Return None for a request that S3 of MiniStack takes for another one."""
        bucket, key = s3._parse_bucket_key(path, {})
        subresources = _SUBRESOURCES & query_params.keys()
        known = _OF_OBJECT if key else _OF_BUCKET
        if len(subresources) > 1 or any(method not in known.get(name, "").split() for name in subresources):
            return None
        if any(len(values) > 1 for values in query_params.values()):
            return None
        if (method, bool(key), subresources) in (("POST", True, set()), ("POST", False, set())):
            return None  # no operation, or the form of a browser
        if method == "PUT" and subresources == {"uploadId"} and "partNumber" not in query_params:
            return None
        action: str | None = original(method, f"/{bucket}/-" if key else f"/{bucket}", query_params)
        return action

    return s3_action


def _make_s3_additional_checks(original: Any) -> Any:
    def s3_additional_checks(
        method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject
    ) -> list[tuple[str, str]]:
        """Return what is asked further, of the object that the path names, empty parts of the path included."""
        bucket, key = s3._parse_bucket_key(path, headers)
        shortened = f"arn:aws:s3:::{'/'.join(part for part in path.split('/') if part)}"
        whole = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
        needs = original(method, path, headers, body, query_params)
        if not key and method == "POST":  # of many objects each is decided for itself
            needs = [one for one in needs if not one[0].startswith("s3:DeleteObject")]
        return [(action, whole if arn == shortened else arn) for action, arn in needs]

    return s3_additional_checks


def present_operation() -> str:
    """Return the operation that the present request has turned out to be; empty before that, and of other services."""
    call = _call.get()
    return call.operation if call else ""


def _make_dispatch_service_request(original: Any) -> Any:
    async def dispatch_service_request(
        method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject, request_id: str
    ) -> Any:
        """Ask for the permission and do the work by one reading of the request."""
        params = ministack_app._routing_params(method, path, headers, body, query_params)
        service = ministack_app.detect_service(method, path, headers, params)
        if service in operations.MODELS:
            body = ministack_app._decompress_request_body(body, headers)
        try:
            call, parts = operations.one_meaning(service, (method, path, headers, body, query_params))
        except operations.UnclearError as unclear:
            return _unclear(service, headers, unclear, request_id)
        _call.set(call)
        _enter_account(service, parts[0], parts[1], parts[2], parts[4])
        return await original(*parts, request_id)

    return dispatch_service_request


def _enter_account(service: str, method: str, path: str, headers: JsonObject, query: JsonObject) -> None:
    """Carry the request out in the account that has what it names, and keep whose it is if that is another one."""
    caller = _guest.get() or responses.get_account_id()
    responses.set_request_account_id(guests.account_for(caller, service, _call.get()))
    if service == "s3":
        bucket, key = s3._parse_bucket_key(path, headers)
        makes_bucket = method == "PUT" and not key and not _SUBRESOURCES & query.keys()
        account = "" if makes_bucket else owners.of_bucket(bucket)
        responses.set_request_account_id(account or caller)
    _guest.set(caller if responses.get_account_id() != caller else "")


def _make_handle_special_data_plane_request(original: Any) -> Any:
    async def handle_special_data_plane_request(
        method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject, request_id: str, **more: Any
    ) -> Any:
        """Leave what MiniStack answers before it looks for a service to root: of some it asks for no permission.

        For others these are calls of APIs, which check their callers, and S3 by the name of a bucket as the host.
        """
        if guests.is_guest(account := responses.get_account_id()):
            _guest.set(account)
            responses.set_request_account_id(guests.home())
        host, key = headers.get("host", ""), router.extract_access_key_id(headers, query_params)
        if iam_evaluator.is_root_access_key(key) or ministack_app._parse_execute_api_url(host, path):
            return await original(method, path, headers, body, query_params, request_id, **more)
        answer = await ministack_app._handle_s3_vhost_request(host, path, method, headers, body, query_params)
        return ministack_app._with_data_plane_headers(answer, request_id, include_s3_id=True, wildcard_cors=False)

    return handle_special_data_plane_request


def _unclear(service: str, headers: JsonObject, error: operations.UnclearError, request_id: str) -> Any:
    """In the protocol of the request."""
    if service not in ("lambda", "sagemaker") and "x-amz-target" not in headers:
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{error.code}</Code><Message>{escape(error.text)}</Message>"
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return error.status, {"Content-Type": "text/xml"}, text.encode()
    document = {"__type": error.code, "message": error.text}
    kind = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-ErrorType": error.code}
    return error.status, {**kind, "x-amzn-RequestId": request_id}, json.dumps(document).encode()


def _json(body: bytes) -> JsonObject:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _make_request_tag_context(original: Any) -> Any:
    def request_tag_context(service: str, iam_action: str, body: bytes, params: JsonObject) -> JsonObject:
        context: JsonObject = original(service, iam_action, body, params)
        if iam_action == "cloudwatch:PutMetricData":
            context = {**context, **actions.metrics_context(body)}
        if iam_action.startswith("application-autoscaling:") and (call := _call.get()):
            context = {**context, **actions.autoscaling_context(call.members)}
        if service == "dynamodb" and (call := _call.get()):
            context = {**context, **actions.leading_keys(call.members)}
        if iam_action == "events:PutEvents" and (call := _call.get()):
            context = {**context, **actions.events_context(call.members.get("Entries", []))}
        return context

    return request_tag_context


def _make_s3_service_context(original: Any) -> Any:
    def s3_service_context(iam_action: str, query_params: JsonObject, path: str, headers: JsonObject) -> JsonObject:
        context: JsonObject = original(iam_action, query_params, path, headers)
        if iam_action != "s3:PutObject":
            return context
        upload = actions.encryption_of_upload(query_params)
        return {**context, **(actions.s3_encryption(headers) if upload is None else upload)}

    return s3_service_context


def _make_enforce(original: Any) -> Any:
    def enforce(
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: JsonObject | None = None,
    ) -> Any:
        """None if the request is allowed, MiniStack's AuthError or EvalResult if it is not."""
        action = _own.get() or iam_action
        waiting = tuple(_in_context(needs, action, service_context) for needs in _further.get())
        _own.set("")
        _further.set(())
        caller, own = _session(access_key_id), Needs(action, resource_arn, service_context or {})
        if _one_by_one.get():
            _one_by_one.set(False)
            return _deny_one_by_one(original, access_key_id, region, [own, *waiting])
        if stranger := _stranger(access_key_id, own):
            return _refuse(_not_open(stranger, own) if _unmapped.get() else guests.refusal(stranger, [own, *waiting]))
        refused = original(access_key_id, action, service, region, resource_arn, service_context)
        if refused is None and _unmapped.get() and not iam_evaluator.is_root_access_key(access_key_id):
            refused = iam_evaluator.EvalResult("ImplicitDeny", principal_arn=_principal(access_key_id))
        if isinstance(refused, iam_evaluator.AuthError):
            return refused
        if caller:
            question = request(caller, action, resource_arn, service_context)
            denial = Denial(question, _reason(refused, action)) if refused else None
            ledger.note(question, denial)
            return _refuse(denial or _first_denial(caller, waiting))
        if refused:
            return _refuse(_denial_of(refused, own))
        for needs in waiting:
            if refused := original(access_key_id, needs.action, needs.service, region, needs.resource, needs.context):
                return _refuse(_denial_of(refused, needs))
        return None

    return enforce


def _not_open(caller: str, needs: Needs) -> Denial:
    """Return the refusal of what nobody has mapped, whatever a resource's policy says of all actions."""
    denial = Denial(request(caller, *needs), f"because no resource-based policy allows the {needs.action} action")
    ledger.note(denial.request, denial)
    return denial


def _deny_one_by_one(original: Any, access_key_id: str, region: str, needed: list[Needs]) -> Any:
    """Decide about each object of a DeleteObjects; return AuthError of a caller who is nobody, else None."""
    caller, denials = _session(access_key_id), list[Denial | None]()
    for needs in needed:
        if stranger := _stranger(access_key_id, needs):
            denials.append(guests.refusal(stranger, [needs]))
            continue
        refused = original(access_key_id, needs.action, needs.service, region, needs.resource, needs.context)
        if isinstance(refused, iam_evaluator.AuthError):
            return refused
        denials.append(_denial_of(refused, needs) if refused else None)
        if caller:
            ledger.note(request(caller, *needs), denials[-1])
    deletions.deny(denial for denial in denials if denial)
    return None


def _in_context(needs: Needs, action: str, context: JsonObject | None) -> Needs:
    """Count the request's own keys for each of its resources."""
    return needs._replace(context={**(context or {}), **needs.context}) if needs.action == action else needs


def refusal_to_invoke(endpoint: str, credential: Any, client: str, headers: Mapping[str, str]) -> Any:
    """Return the answer to a caller who may not invoke an endpoint, None to one who may.

    `credential` is MiniStack's of a key whose signature is right. Decides as `enforce` does, for the one action that
    has neither a resource's policy nor further permissions, and is asked thousands of times a second.
    """
    authorization = headers.get("authorization", "")  # which names the region
    before, _, signature = authorization.rpartition("Signature=")
    scope = before if len(signature) == _SIGNATURE else authorization
    question = endpoint, credential.access_key_id, credential.session_token, client, scope
    if moment.get(question):
        return None
    answer = _refusal_to_invoke(endpoint, credential, client, headers)
    if answer is None:
        moment.keep(question, True)
    else:
        moment.forget()  # its reason may be news
    return answer


def _refusal_to_invoke(endpoint: str, credential: Any, client: str, headers: Mapping[str, str]) -> Any:
    ministack_app.pin_request_origin(client, True)
    region, account = router.extract_region(headers), credential.account_id
    responses.set_request_account_id(account)
    needs = _needs_to_invoke(endpoint, Place(region, account))
    principal = iam_evaluator.resolve_principal(credential.access_key_id, account, credential)
    if isinstance(principal, iam_evaluator.AuthError):
        return ministack_app._credential_failure(needs.service, needs.action, str(uuid.uuid4()), principal, headers)
    if principal.policies is None:  # root
        return None
    if guests.is_guest(account):
        responses.set_request_account_id(guests.home())
        denial = guests.refusal(principal.arn, [needs])
        return denial and _denied(denial, headers)
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=needs.action,
        resource_arn=needs.resource,
        region=region,
        service_context={"aws:tagkeys": None},
        principal_keys=principal.keys,
    )
    verdict = iam_evaluator.evaluate(context, principal.policies, *principal.limits)
    question = _question(principal.arn, needs.action, needs.resource)
    denial = None if verdict.decision == "Allow" else Denial(question, _reason(verdict, needs.action))
    if ":assumed-role/" in principal.arn:
        ledger.note(question, denial)
    return denial and _denied(denial, headers)


@lru_cache(maxsize=1024)
def _needs_to_invoke(endpoint: str, place: Place) -> Needs:
    (needs,) = actions.sagemaker("InvokeEndpoint", {"EndpointName": endpoint}, place)
    return needs


_question = lru_cache(maxsize=1024)(request)
"""What the same caller asks thousands of times."""


def _denied(denial: Denial, headers: Mapping[str, str]) -> Any:
    question = denial.request
    return iam_actions.access_denied_response(
        question.service, question.action, question.caller, str(uuid.uuid4()), message=denial.text, headers=headers
    )


def _session(access_key_id: str) -> str:
    """Return the ARN of the role's session that a key belongs to; empty for root and for users."""
    arn = str((sts._sessions.get(access_key_id) or {}).get("Arn", ""))
    return arn if ":assumed-role/" in arn else ""


def _stranger(access_key_id: str, needs: Needs) -> str:
    """Return who asks, if the resource is another account's; empty if it is of the caller's own, as a bucket to be."""
    owner = "" if needs.action == "s3:CreateBucket" else owners.of(needs.resource)
    here = responses.get_account_id()
    caller = _session(access_key_id)
    if not caller and (owner or _guest.get()):
        is_root = iam_evaluator.is_root_access_key(access_key_id)
        caller = f"arn:aws:iam::{_guest.get() or here}:{'root' if is_root else 'user'}"
    return caller if caller and caller.split(":")[4] != (owner or here) else ""


def _principal(access_key_id: str) -> str:
    account = responses.get_account_id()
    known = iam_evaluator.authenticate(access_key_id, account)
    return str(iam_evaluator.resolve_principal(access_key_id, account, known).arn)


def _denial_of(refused: Any, needs: Needs) -> Denial:
    return Denial(request(refused.principal_arn, *needs), _reason(refused, needs.action))


def _reason(refused: Any, action: str) -> str:
    if refused.decision == "Deny":
        kind = "a resource-based" if refused.resource_policy_arn else "an identity-based"
        return f"with an explicit deny in {kind} policy"
    return f"because no identity-based policy allows the {action} action"


def _first_denial(caller: str, waiting: tuple[Needs, ...]) -> Denial | None:
    denials = (check(caller, needs.action, needs.resource, needs.context) for needs in waiting)
    return next((denial for denial in denials if denial), None)


def _refuse(denial: Denial | None) -> Any:
    if denial is None:
        return None
    _denial.set(denial)
    return iam_evaluator.EvalResult("ImplicitDeny", principal_arn=denial.request.caller)


def _make_parse_policy_document(original: Any) -> Any:
    parsed = lru_cache(maxsize=PARSED)(original)

    def parse_policy_document(doc: str | JsonObject) -> Any:
        """Return the statements of a document; those of a text are parsed once, not with every request."""
        return parsed(doc) if isinstance(doc, str) else original(doc)

    return parse_policy_document


def _make_evaluate_resource_policy(original: Any) -> Any:
    about = rebound(original, evaluate=lambda _, policies: policies)

    @lru_cache(maxsize=PARSED)
    def statements(text: str, principal_arn: str, *how: Any) -> Any:
        """Return the statements of a policy's text that are about a caller, parsed."""
        return about(text, SimpleNamespace(principal_arn=principal_arn), *how)

    def evaluate_resource_policy(
        doc: str | JsonObject | None,
        ctx: Any,
        service: str | None = None,
        named_only: bool = False,
        direct_only: bool = False,
    ) -> Any:
        """Read a text once for each caller, not with every request: a bucket's policy is asked about all objects."""
        how = service, named_only, direct_only
        if not isinstance(doc, str):
            return original(doc, ctx, *how)
        return iam_evaluator.evaluate(ctx, statements(doc, ctx.principal_arn, *how))

    return evaluate_resource_policy


def _make_resolve_condition_key(original: Any) -> Any:
    def resolve_condition_key(key: str, ctx: Any) -> Any:
        """Return of a session its role as aws:PrincipalArn, and the account of a resource that is not the caller's.

        IAM User Guide, "AWS global condition context keys".
        """
        value = original(key, ctx)
        if key.lower() in ("aws:resourceaccount", "s3:resourceaccount"):
            return ctx.service_context.get("aws:resourceaccount") or value
        if key.lower() != "aws:principalarn":
            return value
        return re.sub(r":sts::(\d+):assumed-role/([^/]+)/.*", r":iam::\1:role/\2", value or "") or None

    return resolve_condition_key


def _make_resolve_principal(original: Any) -> Any:
    def resolve_principal(*arguments: Any, **options: Any) -> Any:
        """Remember what bounds whoever asks."""
        principal = original(*arguments, **options)
        _limits.set(tuple(getattr(principal, "limits", ())))
        return principal

    return resolve_principal


def _make_names_condition_key(original: Any) -> Any:
    def names_condition_key(policies: Any, prefix: str) -> bool:
        """Find it in a boundary too, which may ask for the tags of a resource."""
        return any(original(layer, prefix) for layer in (policies, *_limits.get()))

    return names_condition_key


@lru_cache(maxsize=4096)
def _wildcards(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """Return the expression for a policy's element: `*` is any characters, `?` is one (IAM User Guide, "Resource")."""
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(rf"{text}\Z", re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _make_access_denied_response(original: Any) -> Any:
    def access_denied_response(
        service: str, action: str, principal_arn: str, request_id: str, *, error_code: str = "", message: str = "",
        headers: JsonObject | None = None, resource_arn: str = "*", explicit_deny: bool = False,
        resource_policy_arn: str = "",
    ) -> Any:  # fmt: skip
        """Return the service's own form of a refusal, with AWS's whole sentence."""
        denial = _denial.get()
        if denial and not error_code:
            message = _worded(denial, service)
            if denial.request.service == "kms":
                error_code = _CODES.get(service, "")
        return original(
            service, action, principal_arn, request_id, error_code=error_code, message=message, headers=headers,
            resource_arn=resource_arn, explicit_deny=explicit_deny, resource_policy_arn=resource_policy_arn,
        )  # fmt: skip

    return access_denied_response


def _worded(denial: Denial, service: str) -> str:
    if unmapped := _unmapped.get():
        text = unmapped if "localcloud/" in unmapped else str(NotMappedError(unmapped))
        logger.warning(text)
        return f"{denial.text}. {text}"
    if service == "dynamodb" and denial.request.service == "kms":
        return f"KMS key access denied error: {denial.text}"
    return denial.text


def _make_pin_request_origin(original: Any) -> Any:
    def pin_request_origin(source_ip: str, secure_transport: bool) -> None:
        """Count the loopback as TLS: nobody else hears it, and policies that refuse plain HTTP mean the network."""
        original(source_ip, True)

    return pin_request_origin
