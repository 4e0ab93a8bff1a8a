"""The server process: MiniStack's ASGI application with everything of this package registered, behind uvicorn."""

import asyncio
import gc
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Any

import uvloop

from localcloud import access, disk, faults, mailbox, process, sdks
from localcloud.engine import apigateway, inside, leftovers, log_lines, mounted_page, s3, seams, uploads
from localcloud.engine.asgi import Receive, Scope, Send, answer, answer_json, body_of
from localcloud.engine.connections import BoundedHttp
from localcloud.engine.guard import Guard, Request
from localcloud.engine.invocations import DirectInvocations, answer_invocation, is_invocation
from localcloud.engine.journal import Journal
from localcloud.engine.permissions import guests
from localcloud.engine.permissions.decisions import ledger
from localcloud.engine.permissions.requests import present_operation
from localcloud.engine.sagemaker import LocalSageMaker, SageMaker
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import scopes
from localcloud.sagemaker.without_pandas import leave_out_pandas
from localcloud.settings import HOST, Settings, process_environment

ministack_app = Seams("app", SERVICE_HANDLERS="cdc0e379", app="62a47cb3")
lambda_runtime = Seams("core.lambda_runtime", reset="363adcca")
responses = Seams("core.responses", request_scope="1136c5e3")
router = Seams("core.router", detect_service="e264c9da")
cloudformation = Seams("services.cloudformation", _stacks="af85ddc4")

LEDGER_PATH, MAILS_PATH = "/_localcloud/permissions", "/_localcloud/mails"
_TICK_SECONDS = 5.0
_PRUNE_SECONDS = 24 * 3600.0
_OWNER_SECONDS = 1.0
_GRACE_SECONDS = 2
_LAST_RESORT_SECONDS = 8.0
_MAILS = 200  # the newest
_GARBAGE = (20_000, 20, 20)  # how many new objects, and how many looks at them, before there is a look
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_GIVES = ("GetActivityTask", "GetFederationToken", "GetParametersForImport", "GetSessionToken")
"""These make what they give, or take it away."""
_READ_ACTIONS = ("Describe", "Get", "List", "Filter", "BatchGet", "Query", "Scan", "Lookup")
_RUNNING_JOBS = (
    ("ListProcessingJobs", "Processing"),
    ("ListTrainingJobs", "Training"),
    ("ListTransformJobs", "Transform"),
    ("ListHyperParameterTuningJobs", "HyperParameterTuning"),
)

logger = logging.getLogger(__name__)


def run(settings: Settings, make_sagemaker: Callable[[Settings], SageMaker] = LocalSageMaker) -> None:
    """Serve until SIGTERM or SIGINT, then end the process, which is this server's own: its environment is replaced.

    Raises:
        SeamError: the installed MiniStack is not the expected one.
        OSError: the port is taken.
    """
    gc.disable()  # what is loaded stays: to look for garbage among it took a fifth of a start
    leave_out_pandas()  # PyArrow writes the files of the feature store
    _prepare(settings)
    leftovers.end(settings.state)
    leftovers.watch(settings.state)
    _end_with_owner()
    journal = Journal(settings.state / "engine" / "journal.jsonl")
    s3.finish(journal)
    seams.check()
    server = _Server(settings, make_sagemaker(settings), journal)
    server.register()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, settings.port))
        uvloop.run(server.serve(listener))
    logging.shutdown()
    os._exit(0)  # at once: threads of MiniStack may be waiting for something, and the state is saved


def _prepare(settings: Settings) -> None:
    """Replace the environment (before MiniStack is imported) and empty the folder of unpacked functions."""
    scratch = settings.state / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    for folder in (scratch, settings.state / "engine", settings.state / "s3"):
        folder.mkdir(parents=True, exist_ok=True)
    variables = process_environment(settings)
    os.environ.clear()
    os.environ.update(variables)
    sdks.write_defaults(settings.state, settings.region, settings.account_id)


def _end_with_owner() -> None:
    """End in order when the process of LOCALCLOUD_OWNER has ended, if there is such a variable: tests set it."""
    owner = os.environ.get("LOCALCLOUD_OWNER")

    def wait() -> None:
        while _lives(int(owner or 0)):
            time.sleep(_OWNER_SECONDS)
        logger.warning("process %s, which owns this local cloud, has ended", owner)
        os.kill(os.getpid(), signal.SIGTERM)

    if owner:
        threading.Thread(target=wait, name="localcloud-owner", daemon=True).start()


def _abort_uploads() -> None:
    uploads.abort_abandoned(datetime.now(UTC))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Server:
    def __init__(self, settings: Settings, sagemaker: SageMaker, journal: Journal) -> None:
        from localcloud.engine.dynamodb import Tables
        from localcloud.engine.lambda_.functions import Invocations
        from localcloud.engine.logs.files import LogFiles
        from localcloud.engine.persistence import Saver
        from localcloud.engine.sns_mail import Outbox
        from localcloud.engine.stepfunctions.executions import all_executions
        from localcloud.engine.stepfunctions.files import ExecutionFiles

        self._settings = settings
        self._guard = Guard(settings, self._answer)
        self._sagemaker = sagemaker
        engine = settings.state / "engine"
        self._outbox = Outbox(settings.state, lambda: self._saver.touch())
        self._journal = journal
        journal.waits = lambda: self._saver.touch()
        self._executions = ExecutionFiles(engine / "executions", lambda: self._saver.touch())
        self._tables, self._logs = Tables(engine / "tables"), LogFiles(engine / "logs")
        self._saver = Saver(
            {
                "": self._save_besides,
                "stepfunctions": lambda: self._executions.save(all_executions),
                "dynamodb": self._tables.save,
                "cloudwatch_logs": self._logs.save,
            }
        )
        self._invocations = Invocations(self._journal, self._saver.settle)
        self._started = datetime.now(UTC)
        self._stacks: dict[str, str] = {}
        self._ready = False
        self._problem = ""
        self._stopping = threading.Event()

    def register(self) -> None:
        """Put this package's parts into MiniStack."""
        from localcloud.engine import (
            api_logs,
            ecr,
            foreign_sources,
            guard,
            json_answers,
            permissions,
            persistence,
            readers,
            sagemaker,
            service_names,
            sns_mail,
            ssm,
        )
        from localcloud.engine.cloudformation import (
            bucket_properties,
            custom_resources,
            event_buses,
            kms_properties,
            model_package_groups,
            role_properties,
            unknown_properties,
            yaml_templates,
        )
        from localcloud.engine.cloudwatch import extended_statistics, metrics
        from localcloud.engine.eventbridge import events
        from localcloud.engine.lambda_ import functions, layers
        from localcloud.engine.logs import patterns, queries
        from localcloud.engine.stepfunctions import (
            callbacks,
            definitions,
            executions,
            expressions,
            logs,
            payloads,
            sdk_results,
            tasks,
        )

        blobs = self._settings.state / "engine" / "blobs"
        persistence.prune_blobs(blobs.parent, blobs)
        persistence.register(blobs)
        definitions.register()
        payloads.register()
        expressions.register()
        tasks.register()
        executions.register(self._executions, self._saver.touch, self._saver.settle)
        logs.register()
        self._tables.register()
        self._logs.register()
        functions.register()
        self._invocations.register()
        s3.register(self._settings.state, self._journal)
        foreign_sources.register()
        layers.register(blobs.with_name("layers"), blobs)
        self._deliveries = events.register(self._journal, self._saver.touch, self._saver.settle)
        metrics.register()
        extended_statistics.register()
        patterns.register()
        queries.register()
        bucket_properties.register()
        kms_properties.register()
        role_properties.register()
        event_buses.register()
        api_logs.register()
        model_package_groups.register(self._sagemaker.handle)
        ssm.register()
        ecr.register()
        readers.register()
        json_answers.register()
        unknown_properties.register()
        yaml_templates.register()
        custom_resources.register()
        callbacks.register()
        sdk_results.register()
        sns_mail.register(self._outbox, self._settings.endpoint_url)
        sagemaker.register(self._sagemaker, self._client, self._settings.account_id)
        service_names.register()
        guard.register(self._settings)
        apigateway.register()
        log_lines.register()
        permissions.register()  # last: it decides before anything else acts

    def _save_besides(self) -> None:
        self._journal.save()
        self._outbox.flush()

    def _client(self, service: str) -> Any:
        import boto3

        make: Any = boto3.client  # its stubs know services by literal names only
        return make(service, endpoint_url=self._settings.endpoint_url)

    async def serve(self, listener: socket.socket) -> None:
        """Answer what comes in at a socket that is bound, until a signal ends it."""
        import uvicorn

        begin = partial(asyncio.get_running_loop().call_soon_threadsafe, self._begin_shutdown)

        class Http(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                """Uvicorn's own would also end this process by the signal, before it has ended in order."""
                self.should_exit = True
                begin()

        class Protocol(BoundedHttp):
            direct = DirectInvocations(self._guard, self._sagemaker, self._settings.port)

        inside.serve(self.app)
        config = uvicorn.Config(
            self.app,
            interface="asgi3",
            http=Protocol,
            backlog=128,  # they are taken all at once, before one of them can be refused
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # who asks is who has connected, whatever the request says
            server_header=False,
            date_header=False,  # MiniStack's
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            reset_contextvars=True,  # else what one request has set is there for the next of its connection
        )
        await Http(config).serve([listener])

    def _begin_shutdown(self) -> None:
        """Shut down in order; if something holds that up (a custom resource that waits), save and leave anyway."""
        self._stopping.set()
        scopes.end_all()
        _later(_LAST_RESORT_SECONDS, self._leave)

    def _leave(self) -> None:
        logger.warning("the shutdown was held up; saving and leaving")
        self._saver.attempt()
        os._exit(0)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """MiniStack's application behind the guard, with start and stop of what is ours."""
        if scope["type"] == "lifespan":
            await ministack_app.app(scope, receive, self._around_lifespan(send))
        else:
            await self._guard(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the guard has let in: the pages of the local cloud itself, or MiniStack."""
        if scope["path"] == access.STATUS_PATH:
            await answer_json(send, 200, await asyncio.to_thread(self._status))
        elif why := disk.refusal(scope, self._settings.state):
            logger.warning("refused %s %s: %s", scope["method"], scope["path"], why)
            await answer(send, disk.STATUS, {"content-type": "application/xml"}, disk.answer(why))
        elif scope["path"].startswith(faults.PATH):
            status, document = faults.answer_http(scope["method"], scope["path"], await body_of(receive))
            await answer_json(send, status, document)
        elif scope["path"] == guests.PATH:
            await answer_json(send, *guests.answer_http(scope["method"], await body_of(receive)))
        elif scope["path"] == LEDGER_PATH:
            await answer_json(send, 200, {"Requests": ledger.entries()})
        elif scope["path"] == MAILS_PATH:
            await answer_json(send, 200, await asyncio.to_thread(self._mails))
        elif is_invocation(scope, self._settings.port):
            await answer_invocation(self._sagemaker, scope, receive, send)
        else:
            await ministack_app.app(scope, receive, self._when_saved(scope, send))
            if _may_change_state(scope):
                self._saver.touch()

    def _when_saved(self, scope: Scope, send: Send) -> Send:
        """Answer when what the request has changed is on the disk."""

        async def send_when_saved(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                service = _service_to_save(scope)
                if service and _may_change_state(scope) and not self._saver.settle_at_once(service):
                    await asyncio.to_thread(self._saver.settle, service)
                if service == "cloudformation" and (stacks := _stack_statuses()) != self._stacks:  # also for who waits
                    await asyncio.to_thread(self._saver.settle_all)
                    self._stacks = stacks
            await send(message)

        return send_when_saved

    def _around_lifespan(self, send: Send) -> Send:
        async def send_around(message: dict[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                threading.Thread(target=self._start, name="localcloud-start", daemon=True).start()
            if message["type"] == "lifespan.shutdown.complete":
                await asyncio.to_thread(self._stop)
            await send(message)

        return send_around

    def _start(self) -> None:
        """Start what calls back into the server, once it listens."""
        from localcloud.engine import persistence
        from localcloud.engine.stepfunctions import executions

        while not _listens(self._settings.port):
            time.sleep(0.02)
        self._problem = ". ".join(persistence.unreadable)
        try:
            self._sagemaker.start()
            self._journal.resume(
                {
                    "delivery": self._deliveries.resume,
                    "invocation": self._invocations.resume,
                    "object": partial(s3.resume, self._journal),
                },
                responses.request_scope,
            )
            executions.announce_interrupted(self._executions)
        except Exception as error:  # the control services work without it; status says what does not
            logger.exception("SageMaker did not start")
            self._problem = f"SageMaker did not start: {error}"
        gc.freeze()  # what is loaded stays; to look through it again and again took one twentieth of the server's time
        gc.set_threshold(*_GARBAGE)
        gc.enable()
        self._ready = True
        self._saver.touch()  # what a version before this one has left is written as this one does
        self._saver.start()
        logger.info("local cloud at %s, state in %s", self._settings.endpoint_url, self._settings.state)
        self._tick()

    def _tick(self) -> None:
        from localcloud.engine.cloudwatch import metrics
        from localcloud.engine.lambda_ import functions
        from localcloud.engine.stepfunctions import executions

        pruned = time.monotonic()
        while not self._stopping.wait(_TICK_SECONDS):
            acts: list[Callable[[], None]] = [metrics.tick, functions.end_idle_workers, self._bound_log]
            if time.monotonic() - pruned > _PRUNE_SECONDS:
                pruned = time.monotonic()
                acts += [executions.forget_old, self._logs.prune, _abort_uploads, self._saver.touch]
            for act in acts:
                try:
                    act()
                except Exception:  # one bad alarm must not end the ticking
                    logger.exception("%s failed", act.__qualname__)

    def _bound_log(self) -> None:
        process.bound_log(self._settings.state)

    def _stop(self) -> None:
        """Save, end jobs, endpoints and function workers, then the process itself."""
        self._saver.stop()
        self._logs.write_indexes()
        self._executions.pack()
        try:
            self._sagemaker.stop()
        finally:
            lambda_runtime.reset()
            disk.force()
        logger.info("local cloud stopped")
        _later(_GRACE_SECONDS, lambda: os._exit(0))  # closing the event loop waits for threads; they may wait for us

    def _status(self) -> dict[str, Any]:
        status = {
            "pid": os.getpid(),
            "port": self._settings.port,
            "state": str(self._settings.state),
            "started": self._started.isoformat(),
            "ready": self._ready,
            "problem": self._problem or disk.problem(self._settings.state) or self._saver.problem,
            "console": mounted_page.address(self._settings),
            "engine": f"MiniStack {seams.PINNED_VERSION}",
            "services": sorted(ministack_app.SERVICE_HANDLERS),
        }
        if not self._ready:
            return status
        try:
            return {**status, "endpoints": self._endpoints(), "jobs": self._jobs()}
        except Exception as error:  # the status page answers whatever SageMaker does
            return {**status, "problem": self._problem or f"SageMaker does not answer: {error}"}

    def _mails(self) -> dict[str, Any]:
        mails = mailbox.messages(self._settings.state)
        return {"mails": [{**mailbox.as_json(mail), "body": mail.body} for mail in mails[-_MAILS:]]}

    def _endpoints(self) -> list[str]:
        listed = self._sagemaker.handle("ListEndpoints", {"StatusEquals": "InService"})
        return [endpoint["EndpointName"] for endpoint in listed.get("Endpoints", [])]

    def _jobs(self) -> list[str]:
        return [
            job[f"{kind}JobName"]
            for operation, kind in _RUNNING_JOBS
            for job in self._sagemaker.handle(operation, {"StatusEquals": "InProgress"}).get(f"{kind}JobSummaries", [])
        ]


def _service_to_save(scope: Scope) -> str:
    """Return the service that a request has asked for something; empty where what that changes is saved already."""
    if scope["method"] in _READ_METHODS:
        return ""
    request = Request.of(scope)
    service = str(router.detect_service(request.method, request.path, request.headers, request.query))
    of_an_object = service == "s3" and "/" in request.path.strip("/")
    return "" if of_an_object or request.path.endswith("/invocations") else service


def _stack_statuses() -> dict[str, str]:
    return {str(key): stack["StackStatus"] for key, stack in cloudformation._stacks.all_items()}


def _may_change_state(scope: Scope) -> bool:
    """Return whether a request that was answered may have changed something: everything but reads and calls of APIs.

    Reads are told by their names of services only whose operations are known, and of SageMaker: an identity of Cognito
    comes to be by GetId, an iterator of Kinesis by GetShardIterator.
    """
    if scope["method"] in _READ_METHODS or Request.of(scope).is_execution:
        return False
    operation = present_operation() or Request.of(scope).headers.get("x-amz-target", "").removeprefix("SageMaker.")
    return operation in _GIVES or not operation.startswith(_READ_ACTIONS)


def _later(seconds: float, act: Callable[[], None]) -> None:
    """Do something if the process still lives then."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
