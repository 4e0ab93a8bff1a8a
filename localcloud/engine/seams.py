"""What this package uses of MiniStack's insides, and the check that all of it is still there.

MiniStack has no plug-in interface; its dispatch tables are dictionaries and its services are modules of functions that
find one another by name at call time. Both can be replaced before the server starts. Every such place is a `Seam`
here. The version is pinned, because a seam that keeps its name and its parameters may still change its meaning.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

PINNED_VERSION = "1.5.33"


class SeamError(RuntimeError):
    """MiniStack is not the one that this package was written for."""


@dataclass(frozen=True)
class Seam:
    """One name inside MiniStack.

    `shape` is its parameter list, as in `(bucket, key, *, version_id)`, or the name of its type, as in `dict`.
    """

    module: str
    name: str
    shape: str

    def __str__(self) -> str:
        return f"ministack.{self.module}.{self.name}"

    def find(self) -> Any:
        """The object that stands at the seam.

        Raises:
            SeamError: the module, the name or the shape is not what it was.
        """
        try:
            owner: Any = importlib.import_module(f"ministack.{self.module}")
            for part in self.name.split("."):
                owner = getattr(owner, part)
        except (ImportError, AttributeError) as error:
            raise SeamError(f"{self} is gone ({error})") from error
        if (found := _shape(owner)) != self.shape:
            raise SeamError(f"{self} is {found}, expected {self.shape}")
        return owner


def _shape(thing: Any) -> str:
    if inspect.isclass(thing):
        return "class"
    if callable(thing):
        return f"({', '.join(inspect.signature(thing).parameters)})"
    return type(thing).__name__


SEAMS = (
    Seam("app", "app", "(scope, receive, send)"),
    Seam("app", "SERVICE_HANDLERS", "dict"),
    Seam("app", "SERVICE_NAME_ALIASES", "dict"),
    Seam("app", "SERVICE_REGISTRY", "dict"),
    Seam("app", "_build_persistence_save_dict", "()"),
    Seam("app", "_credential_failure", "(service, iam_action, request_id, denied, headers)"),
    Seam("app", "fix_error_content_type", "(service, status, headers)"),
    Seam("app", "fix_success_content_type", "(service, status, headers)"),
    Seam("app", "pin_request_origin", "(source_ip, secure_transport)"),
    Seam("app", "save_all", "(services)"),
    Seam("core.concurrency", "run_reentrant", "(fn, args, thread_name)"),
    Seam("core.iam_actions", "_s3_source_object", "(headers)"),
    Seam(
        "core.iam_actions",
        "access_denied_response",
        "(service, action, principal_arn, request_id, error_code, message, headers, resource_arn, explicit_deny, "
        "resource_policy_arn)",
    ),
    Seam("core.iam_actions", "extract_iam_action", "(service, method, path, headers, body, query_params)"),
    Seam(
        "core.iam_actions",
        "extract_resource_arn",
        "(service, method, path, headers, body, query_params, region, account_id)",
    ),
    Seam("core.iam_actions", "request_tag_context", "(service, iam_action, body, params)"),
    Seam("core.iam_evaluator", "_fnmatch_compile", "(pattern, ignore_case)"),
    Seam("core.iam_evaluator", "parse_policy_document", "(doc)"),
    Seam("core.iam_evaluator", "_gather_role_policies", "(role_name, account_id)"),
    Seam("core.iam_evaluator", "_resolve_condition_key", "(key, ctx)"),
    Seam("core.iam_evaluator", "_resource_policy", "(service, resource_arn)"),
    Seam(
        "core.iam_evaluator",
        "combine_resource_policy",
        "(identity, ctx, policy, owner_account, required, limits)",
    ),
    Seam(
        "core.iam_evaluator",
        "enforce",
        "(access_key_id, iam_action, service, region, resource_arn, service_context)",
    ),
    Seam("core.iam_evaluator", "_sigv2_check", "(request, account_id)"),
    Seam("core.iam_evaluator", "evaluate", "(ctx, policies, limits)"),
    Seam("core.iam_evaluator", "evaluate_resource_policy", "(doc, ctx, service, named_only, direct_only)"),
    Seam("core.iam_evaluator", "find_iam_access_key_account", "(access_key_id)"),
    Seam("core.iam_evaluator", "is_root_access_key", "(access_key_id)"),
    Seam("core.iam_evaluator", "parse_policy_document", "(doc)"),
    Seam("core.iam_evaluator", "resolve_credential", "(access_key_id, account_id, session_token)"),
    Seam("core.persistence", "_json_default", "(obj)"),
    Seam("core.persistence", "_json_object_hook", "(obj)"),
    Seam("core.persistence", "_state_format_version", "(service)"),
    Seam("core.persistence", "STATE_DIR", "str"),
    Seam("core.responses", "_account_from_sts_session", "(access_key_id)"),
    Seam("core.responses", "get_account_id", "()"),
    Seam("core.responses", "get_region", "()"),
    Seam("core.responses", "request_scope", "(account_id, region)"),
    Seam("core.router", "SERVICE_PATTERNS", "dict"),
    Seam("core.router", "detect_service", "(method, path, headers, query_params)"),
    Seam("core.router", "extract_access_key_id", "(headers, query_params)"),
    Seam("core.sigv4", "decode_header_value", "(value)"),
    Seam(
        "core.sigv4",
        "header_signature_failure",
        "(signature, secret, method, raw_path, query_params, headers, body, presigned, explain)",
    ),
    Seam("core.sigv4", "parse_header_signature", "(headers)"),
    Seam("core.sigv4", "parse_query_signature", "(query_params)"),
    Seam("core.sigv4", "presigned_request_is_expired", "(amz_date, expires, now)"),
    Seam("core.sigv4", "request_time_failure", "(signature, now)"),
    Seam("core.lambda_runtime", "_PYTHON_WORKER_SCRIPT", "str"),
    Seam(
        "core.lambda_runtime",
        "Worker.invoke",
        "(self, event, request_id, trace_id, depth, durable, invoked_function_arn)",
    ),
    Seam("core.lambda_runtime", "Worker._spawn", "(self)"),
    Seam("core.lambda_runtime", "execution_credentials", "(config)"),
    Seam("core.lambda_runtime", "_lock", "lock"),
    Seam("core.lambda_runtime", "_workers", "dict"),
    Seam("core.lambda_runtime", "kill_workers", "(workers)"),
    Seam("core.lambda_runtime", "reset", "()"),
    Seam("core.lambda_runtime", "subprocess", "module"),
    Seam("services.cloudformation.custom_resource", "_pending", "dict"),
    Seam("services.cloudformation.custom_resource", "deliver_response", "(token, response)"),
    Seam(
        "services.cloudformation.custom_resource",
        "invoke_custom_resource",
        "(request_type, logical_id, props, stack_name, stack_id, resource_type, physical_id, old_props)",
    ),
    Seam("services.cloudformation.provisioners", "_RESOURCE_HANDLERS", "dict"),
    *(
        Seam(f"services.cloudformation.{module}", name, shape)
        for module in ("provisioners", "stacks")
        for name, shape in (
            ("_provision_resource", "(resource_type, logical_id, props, stack_name)"),
            (
                "_update_resource",
                "(resource_type, physical_id, old_props, new_props, stack_name, logical_id, old_attrs)",
            ),
        )
    ),
    Seam("services.cloudformation.provisioners", "_sfn_definition", "(props)"),
    Seam("services.cloudformation.provisioners", "_S3_BUCKET_CONFIGURATIONS", "tuple"),
    Seam("services.cloudwatch", "_alarms", "AccountRegionScopedDict"),
    Seam("services.cloudwatch", "_calc_stats", "(points)"),
    Seam("services.cloudwatch", "_dims_from_list", "(dimensions)"),
    Seam("services.cloudwatch", "_dispatch_alarm_actions", "(alarm, old_state, new_state, reason)"),
    Seam("services.cloudwatch", "_evaluate_alarm", "(alarm)"),
    Seam("services.cloudwatch", "_evict_old_metrics", "()"),
    Seam("services.cloudwatch", "TWO_WEEKS_SECONDS", "int"),
    Seam("services.cloudwatch", "_evaluate_all_alarms", "()"),
    Seam("services.cloudwatch", "_evaluate_parent_alarms", "(child, seen)"),
    Seam("services.cloudwatch", "_restore_state", "(data)"),
    Seam("services.cloudwatch", "get_state", "()"),
    Seam("services.cloudwatch", "_metrics", "AccountRegionScopedDict"),
    Seam(
        "services.cloudwatch",
        "_record_history",
        "(alarm_name, old_state, new_state, reason, alarm_type, reason_data)",
    ),
    Seam("services.cloudwatch", "_error", "(code, message, status, use_json, use_cbor)"),
    Seam("services.cloudwatch", "_get_metric_data", "(params, cbor_data, is_cbor, is_json)"),
    Seam("services.cloudwatch", "_get_metric_statistics", "(params, cbor_data, is_cbor, is_json)"),
    Seam("services.cloudwatch", "_is_percentile_stat", "(stat_name)"),
    Seam("services.cloudwatch", "_percentile", "(samples, pct)"),
    Seam("services.cloudwatch", "_percentile_samples", "(points)"),
    Seam("services.cloudwatch", "_stat_value", "(stats, stat_name, points)"),
    Seam("services.cloudwatch", "record_metric", "(namespace, metric_name, value, unit, dimensions)"),
    Seam("services.cloudformation", "_ACTION_HANDLERS", "dict"),
    Seam("services.cloudformation", "_stacks", "AccountRegionScopedDict"),
    Seam("services.cloudformation.handlers", "_error", "(code, message, status)"),
    Seam("services.cloudformation.handlers", "_p", "(params, key, default)"),
    Seam("services.cloudformation.handlers", "_resolve_stack", "(stack_name)"),
    Seam("services.cloudwatch_logs", "_append_log_events", "(stream, events)"),
    Seam("services.cloudwatch_logs", "_apply_insights_sort", "(records, query_string)"),
    Seam("services.cloudwatch_logs", "_collect_query_records", "(group_names, start_time_s, end_time_s)"),
    Seam("services.cloudwatch_logs", "_compile_filter_pattern", "(raw)"),
    Seam("services.cloudwatch_logs", "_describe_log_groups", "(data)"),
    Seam("services.cloudwatch_logs", "_filter_log_events", "(data)"),
    Seam("services.cloudwatch_logs", "_insights_filter_predicates", "(query_string)"),
    Seam("services.cloudwatch_logs", "_log_events_lock", "lock"),
    Seam("services.cloudwatch_logs", "_restore_state", "(data)"),
    Seam("services.cloudwatch_logs", "get_state", "()"),
    Seam("services.cloudwatch_logs", "_log_groups", "AccountRegionScopedDict"),
    Seam("services.cloudwatch_logs", "_parse_insights_fields", "(query_string)"),
    Seam("services.cloudwatch_logs", "_put_log_events", "(data)"),
    Seam("services.cloudwatch_logs", "_put_metric_filter", "(data)"),
    Seam("services.cloudwatch_logs", "_put_subscription_filter", "(data)"),
    Seam("services.cloudwatch_logs", "_resolve_log_group_name", "(data)"),
    Seam("services.cloudwatch_logs", "_row_from_record", "(record, fields)"),
    Seam("services.cloudwatch_logs", "_split_insights_pipes", "(query_string)"),
    Seam("services.cloudwatch_logs", "_start_query", "(data)"),
    Seam("services.cloudwatch_logs", "_subscription_pattern_matches", "(pattern, message)"),
    Seam("services.dynamodb", "_sse_description_from_spec", "(spec)"),
    Seam("services.dynamodb", "_items_replaced", "(table)"),
    Seam("services.dynamodb", "_restore_state", "(data)"),
    Seam("services.dynamodb", "get_state", "()"),
    Seam("services.dynamodb", "_tables", "AccountRegionScopedDict"),
    Seam("services.eventbridge", "_dispatch_event", "(event, view)"),
    Seam("services.eventbridge", "_dispatch_to_lambda", "(arn, payload)"),
    Seam("services.eventbridge", "_dispatch_to_sns", "(arn, payload)"),
    Seam("services.eventbridge", "_dispatch_to_sqs", "(spec, payload, sqs_parameters)"),
    Seam("services.eventbridge", "_dispatch_to_stepfunctions", "(arn, payload)"),
    Seam("services.eventbridge", "_invoke_target", "(target, event, rule, view)"),
    Seam("services.eventbridge", "_pattern_event_view", "(event)"),
    Seam("services.eventbridge", "_put_events", "(data, allow_aws_source)"),
    Seam("services.iam", "_roles", "AccountScopedDict"),
    Seam("services.kms", "_resolve_key", "(key_id_or_arn)"),
    Seam("services.lambda_svc", "_functions", "AccountRegionScopedDict"),
    Seam("services.lambda_svc", "_layer_content_url", "(layer_name, version)"),
    Seam("services.lambda_svc", "_presigned_code_url", "(func_name)"),
    Seam("services.lambda_svc", "_route_async_failure", "(target_arn, func_name, event, result)"),
    Seam(
        "services.lambda_svc",
        "_emit_lambda_logs",
        "(func, request_id, log_text, error, duration_ms, log_source)",
    ),
    Seam("services.lambda_svc", "_emit_lambda_metrics", "(function_name, duration_ms, error, throttle)"),
    Seam("services.lambda_svc", "_execute_function", "(func, event)"),
    Seam("services.lambda_svc", "_execute_function_warm", "(func, event, request_id)"),
    Seam("services.lambda_svc", "_execute_function_with_config_scope", "(func, event)"),
    Seam("services.lambda_svc", "_execution_record_for_config", "(func, config)"),
    Seam("services.lambda_svc", "_get_func_record_for_ref", "(function_ref)"),
    Seam("services.lambda_svc", "_resolve_layer_zip", "(attachment)"),
    Seam("services.lambda_svc", "_function_config_scope_mismatch", "(config)"),
    Seam("services.lambda_svc", "handle_request", "(method, path, headers, body, query_params)"),
    Seam("services.lambda_svc", "invalidate_worker", "(func_name, qualifier, account, region)"),
    Seam("services.lambda_svc", "invoke_async_with_retry", "(func, event)"),
    Seam("services.s3", "logger", "Logger"),
    Seam("services.s3", "_atomic_write", "(fpath, data, text)"),
    Seam("services.s3", "_bucket_notifications", "AccountScopedDict"),
    Seam("services.s3", "_next_event_sequencer", "(event_name)"),
    Seam("services.s3", "_bucket_has_versions", "(name)"),
    Seam("services.s3", "_dispatch", "(method, bucket, key, headers, body, query_params)"),
    Seam("services.s3", "_ensure_bucket", "(name)"),
    Seam("services.s3", "_bucket_default_sse_headers", "(bucket_name)"),
    Seam("services.s3", "_buckets", "AccountScopedDict"),
    Seam("services.s3", "_completed_multipart_uploads", "AccountScopedDict"),
    Seam("services.s3", "_list_object_versions", "(bucket_name, query_params)"),
    Seam("services.s3", "_multipart_uploads", "AccountScopedDict"),
    Seam("services.s3", "_object_acl", "AccountScopedDict"),
    Seam("services.s3", "_object_annotations", "AccountScopedDict"),
    Seam("services.s3", "_object_legal_hold", "AccountScopedDict"),
    Seam("services.s3", "_object_retention", "AccountScopedDict"),
    Seam("services.s3", "_object_tags", "AccountScopedDict"),
    Seam("services.s3", "_object_versions", "AccountScopedDict"),
    Seam("services.s3", "_qp", "(params, key, default)"),
    Seam("services.s3", "_version_file_exists", "(bucket_name, key, version_id, account_id)"),
    Seam("services.s3", "_resolve_sse_write_headers", "(headers, bucket_name)"),
    Seam("services.s3", "_stored_sse_headers", "(obj)"),
    Seam("services.s3", "_url_encode", "(value)"),
    Seam("services.s3", "_delete_bucket_encryption", "(name)"),
    Seam("services.s3", "_delete_bucket_lifecycle", "(name)"),
    Seam("services.s3", "_delete_bucket_ownership_controls", "(name)"),
    Seam("services.s3", "_delete_bucket_tagging", "(name)"),
    Seam("services.s3", "_put_bucket_encryption", "(name, body)"),
    Seam("services.s3", "_put_bucket_lifecycle", "(name, body)"),
    Seam("services.s3", "_put_bucket_ownership_controls", "(name, body)"),
    Seam("services.s3", "_put_bucket_tagging", "(name, body)"),
    Seam(
        "services.s3",
        "_fire_s3_event",
        "(bucket_name, key, event_name, size, etag, deletion_type, restore_event_data, version_id, sequencer, "
        "object_extra, record_extra)",
    ),
    Seam(
        "services.s3",
        "_fire_s3_event_async",
        "(bucket_name, key, event_name, size, etag, deletion_type, version_id, object_extra, record_extra)",
    ),
    Seam(
        "services.sns",
        "_fanout",
        "(topic_arn, msg_id, message, subject, message_structure, message_attributes, message_group_id, "
        "message_dedup_id)",
    ),
    Seam("services.sns", "_matches_filter_policy", "(sub, message_attributes, message)"),
    Seam("services.sns", "_resolve_message_for_protocol", "(message, message_structure, protocol)"),
    Seam("services.sns", "_topic_by_arn_any_scope", "(topic_arn)"),
    Seam("services.sns", "_build_envelope", "(topic_arn, msg_id, message, subject, message_attributes, raw)"),
    Seam("services.sqs", "_queue_by_arn", "(arn)"),
    Seam("services.sqs", "_queues", "AccountRegionScopedDict"),
    Seam("services.sqs", "_ensure_msg_fields", "(m)"),
    Seam("services.ssm", "_default_tier", "(data, value, existing)"),
    Seam("services.ssm", "_parameters", "AccountRegionScopedDict"),
    Seam("services.ssm", "_put_parameter", "(data)"),
    Seam("services.stepfunctions", "_ExecutionError", "class"),
    Seam("services.stepfunctions", "_SERVICE_DISPATCH", "dict"),
    Seam("services.stepfunctions", "_add_event", "(execution, event_type, details)"),
    Seam("services.stepfunctions", "_apply_jsonata_template", "(value, raw_input, ctx, result, error_output)"),
    Seam("services.stepfunctions", "_apply_catcher", "(catcher, raw_input, ctx, query_language, error_output)"),
    Seam("services.stepfunctions", "_apply_input_path", "(state_def, data, ctx)"),
    Seam("services.stepfunctions", "_apply_jsonata_arguments", "(state_def, raw_input, ctx)"),
    Seam(
        "services.stepfunctions",
        "_apply_jsonata_output",
        "(state_def, raw_input, ctx, result, error_output, default)",
    ),
    Seam("services.stepfunctions", "_apply_output_path", "(state_def, data, ctx)"),
    Seam("services.stepfunctions", "_apply_parameters", "(state_def, data, ctx)"),
    Seam("services.stepfunctions", "_apply_result_path", "(state_def, original, result)"),
    Seam("services.stepfunctions", "_apply_result_selector", "(state_def, data)"),
    Seam("services.stepfunctions", "_apply_state_assign", "(state_def, raw_input, ctx, result, error_output)"),
    Seam("services.stepfunctions", "_create_state_machine", "(data)"),
    Seam("services.stepfunctions", "_update_state_machine", "(data)"),
    Seam("services.stepfunctions", "_dispatch_aws_sdk_rest_xml", "(service_info, service_name, action, input_data)"),
    Seam("services.stepfunctions", "_describe_state_machine", "(data)"),
    Seam("services.stepfunctions", "_describe_state_machine_for_execution", "(data)"),
    Seam("services.stepfunctions", "_emit_execution_status_event", "(execution)"),
    Seam("services.stepfunctions", "_error_matches", "(error_equals, error)"),
    Seam("services.stepfunctions", "_evaluate_jsonata_choice_rule", "(rule, raw_input, ctx)"),
    Seam("services.stepfunctions", "_execute_choice", "(state_def, raw_input, ctx)"),
    Seam("services.stepfunctions", "_execute_map", "(state_def, raw_input, execution, ctx)"),
    Seam("services.stepfunctions", "_execute_parallel", "(state_def, raw_input, execution, ctx)"),
    Seam("services.stepfunctions", "_execute_pass", "(state_def, raw_input, ctx)"),
    Seam("services.stepfunctions", "_execute_task", "(state_def, raw_input, execution, ctx)"),
    Seam("services.stepfunctions", "_execute_wait", "(state_def, raw_input, ctx)"),
    Seam("services.stepfunctions", "_executions", "AccountRegionScopedDict"),
    Seam("services.stepfunctions", "_fail_execution", "(execution, error, cause)"),
    Seam("services.stepfunctions", "_fail_state_error", "(state_def, raw_input, ctx)"),
    Seam("services.stepfunctions", "_find_matching_catcher", "(catchers, error)"),
    Seam("services.stepfunctions", "_find_matching_retrier", "(retriers, error, retry_counts)"),
    Seam("services.stepfunctions", "_invoke_resource", "(resource, input_data)"),
    Seam("services.stepfunctions", "_invoke_resource_with_timeout", "(resource, input_data, timeout)"),
    Seam("services.stepfunctions", "_invoke_with_callback", "(resource, input_data, token, state_def)"),
    Seam("services.stepfunctions", "_task_tokens", "AccountRegionScopedDict"),
    Seam("services.stepfunctions", "_jsonata_state_field", "(state_def, field, expected, raw_input, ctx)"),
    Seam("services.stepfunctions", "_nested_execution_failure", "(payload)"),
    Seam("services.stepfunctions", "_next_or_end", "(state_def)"),
    Seam("services.stepfunctions", "_run_execution", "(exec_arn)"),
    Seam("services.stepfunctions", "_run_map_items", "(state_def, raw_input, execution, ctx)"),
    Seam("services.stepfunctions", "_run_parallel_branches", "(state_def, raw_input, execution, ctx)"),
    Seam("services.stepfunctions", "_run_sub_machine", "(states, start_at, input_data, execution, ctx)"),
    Seam("services.stepfunctions", "_send_task_success", "(data)"),
    Seam("services.stepfunctions", "_start_execution", "(data)"),
    Seam("services.stepfunctions", "_start_sync_execution", "(data)"),
    Seam("services.stepfunctions", "_scaled_sleep", "(seconds)"),
    Seam("services.stepfunctions", "_SFN_WAIT_SCALE", "float"),
    Seam("services.stepfunctions", "_state_machines", "AccountRegionScopedDict"),
    Seam("services.stepfunctions", "_validate_definition_jsonata", "(definition_str)"),
    Seam("services.stepfunctions", "_validate_state_machine_definition", "(data)"),
    Seam("services.stepfunctions", "_state_query_language", "(state_def, ctx)"),
    Seam("services.stepfunctions", "_resolve_state_machine_arn", "(arn)"),
    Seam("services.stepfunctions", "_restore_state", "(data)"),
    Seam("services.stepfunctions", "get_state", "()"),
    Seam("services.stepfunctions", "now_iso", "()"),
    Seam("services.sts", "_evict_expired_sessions", "()"),
    Seam("services.sts", "_session_expired", "(session)"),
    Seam("services.sts", "_sessions", "dict"),
    Seam("services.sts", "register_session", "(access_key, session)"),
)
_BY_NAME = {str(seam): seam for seam in SEAMS}


def check(seams: tuple[Seam, ...] = SEAMS, installed: str | None = None) -> None:
    """Refuse to start on another MiniStack than the one this package was written for.

    Raises:
        SeamError: names the installed and the expected version, and every seam that moved.
    """
    installed = installed or version("ministack")
    moved = [problem for seam in seams if (problem := _problem(seam))]
    if installed == PINNED_VERSION and not moved:
        return
    lines = [
        f"MiniStack {installed} is installed; the local cloud is written for {PINNED_VERSION}."
        if installed != PINNED_VERSION
        else f"MiniStack {installed} is not as the local cloud knows it.",
        *(f"  {problem}" for problem in moved),
        "Install the locked environment (make install), or adapt localcloud/engine and its pinned version.",
    ]
    raise SeamError("\n".join(lines))


def _problem(seam: Seam) -> str | None:
    try:
        seam.find()
    except SeamError as error:
        return str(error)
    return None


def replace(module: str, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` where the original stood. The seam must be listed in SEAMS.

    What is put there has the original's signature, so that another part of the engine may replace it in its turn.
    """
    seam = _BY_NAME[f"ministack.{module}.{name}"]
    owner: Any = importlib.import_module(f"ministack.{module}")
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = seam.find()
    made = make(original)
    if inspect.isfunction(made):
        made.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    setattr(owner, last, made)
