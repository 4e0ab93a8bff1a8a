"""Start programs without their imports: what they load is loaded here once, and each program is a fork of this process.

Runs as    <python> fork_server.py <number of the control socket> <mark> <image | layers | runtime | sam> [folder ...]
           `ps` shows the mark for every program; what is loaded is looked for in the folders first
Takes      from the control socket, for each program: the length of a JSON text, {"argv", "cwd", "environment", "fds",
           "sources"}, with the descriptors: a status socket, and one for each number in "fds" (0, 1 and 2 first);
           then the text
Answers    on the status socket: the process id when the program begins, its exit code (-n: signal n) when it has ended
Ends       when the control socket is closed, also by the death of the service; it kills its programs then

A program finds what it would find as `<python> <its arguments>`: a session of its own, its environment, folder
and descriptors and no others, `__main__`, `sys.argv` and `sys.path`, and its last words are Python's. No program's code
runs in this process, so none can leave anything to the next; of what they share only what asks and changes nothing when
it is imported. What programs import of their own is compiled by a fork that does nothing else, and is found by its
text. It has one thread: a fork copies the one that forks only.
"""

from __future__ import annotations

import _imp
import atexit
import builtins
import compileall
import ctypes
import fcntl
import gc
import hashlib
import importlib
import importlib.metadata
import importlib.util
import io
import json
import marshal
import os
import re
import select
import signal
import socket
import struct
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader
from inspect import CO_VARKEYWORDS
from itertools import chain, product
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

OWN = Path(__file__).resolve().parent
LENGTH = struct.Struct("!I")
_SKLEARN = "sklearn"
_MOST_FDS = 8
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?Z", re.ASCII)
_MOST_SOURCES, _MOST_SOURCE_BYTES = 4096, 1 << 22
_STANDARD = (
    "argparse",
    "csv",
    "decimal",
    "encodings.idna",  # whoever connects to a named host, also to an address
    "gzip",
    "hashlib",
    "http.client",
    "statistics",
    "tarfile",
    "unicodedata",
    "urllib.parse",
)


class Loads(NamedTuple):
    """`hidden` are loaded, and not there until a program imports them; `libraries` are no Python.

    `without_sklearn` are packages that are loaded as where scikit-learn, which they import if they can, is not
    installed, and are only there for programs that have hidden it. `models` are what botocore reads for each process:
    names of services. Programs write no byte code: of the folders `compiles` they find it.
    """

    packages: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    without_sklearn: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    compiles: tuple[Path, ...] = ()
    pure: tuple[str, ...] = ()


LOADS = {
    # Most of what XGBoost imports is SciPy. Its stand-ins import it without scikit-learn.
    "image": Loads(
        ("numpy", "pyarrow", "scipy.sparse", "scipy.special"),
        ("pyarrow.compute", "pyarrow.csv", "pyarrow.parquet"),
        ("xgboost/lib/libxgboost.so",),
        ("xgboost", "xgboost.collective", "xgboost.tracker"),
        compiles=(OWN / "sagemaker",),
    ),
    # What the Lambda runtime brings, and what layers often do: nothing that reads or changes the environment.
    "runtime": Loads(("boto3", "s3transfer"), ("boto3.s3.inject",), models=("s3",)),
    "layers": Loads(
        ("boto3", "leather", "numpy", "pydantic", "s3transfer", "yaml"),
        (
            "boto3.dynamodb.types",
            "boto3.s3.inject",
            "numpy.typing",
            "pydantic.json_schema",
            "pydantic.main",
            "pydantic.type_adapter",
            "pydantic.types",
        ),
        models=("dynamodb", "events", "s3", "sagemaker", "sns", "ssm", "stepfunctions"),
        # Of our own layer the domain; most of what its functions import is behind these modules.
        pure=(
            "aws_lambda_powertools.logging",
            "aws_lambda_powertools.metrics",
            "aws_lambda_powertools.tracing",
            "aws_lambda_powertools.utilities.typing",
            "perennial.evaluation.comparison",
            "perennial.monitoring.probing",
            "perennial.registry.approval",
            "perennial.runs.batch_file",
            "perennial.runs.batch_input",
            "perennial.runs.configuration",
            "perennial.runs.endpoint",
            "perennial.runs.message",
            "perennial.serving.scaling",
        ),
    ),
    # The SAM CLI, which tests start.
    "sam": Loads(
        (
            "samcli.cli.main",
            "samcli.commands.build.build_context",
            "samcli.commands.build.command",
            "samcli.commands.deploy.command",
            "samcli.commands.deploy.deploy_context",
            "samcli.commands.package.package_context",
        ),
        models=("cloudformation", "s3"),
    ),
}


class HiddenModules(MetaPathFinder, Loader):
    """Modules that are loaded, and not there until a program imports them.

    Without it a script that says `pyarrow.csv` and does not import it would work here and fail on AWS.
    """

    def __init__(self, names: set[str], needs: Mapping[str, Iterable[str]]) -> None:
        """`needs` is what importing each imports, with its package's name; where it is empty, packages keep theirs."""
        self._modules = {name: sys.modules.pop(name) for name in names}
        self._specs = {name: module.__spec__ for name, module in self._modules.items()}
        self._needs = {name: list(needs.get(name, ())) for name in names}
        for name, module in self._modules.items():
            package, _, attribute = name.rpartition(".")
            if package in sys.modules:
                vars(sys.modules[package]).pop(attribute, None)
            elif needs and package in names and vars(self._modules[package]).get(attribute) is module:
                delattr(self._modules[package], attribute)
        self._others = {
            name: {attribute: value for attribute, value in vars(module).items() if f"{name}.{attribute}" in names}
            for name, module in self._modules.items()
        }

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in self._modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Import what it has imported; a package may have another thing by the name of a module that it has."""
        module.__spec__ = self._specs[module.__name__]
        for name in self._needs[module.__name__]:
            package, _, attribute = name.rpartition(".")
            if name in self._modules and name not in sys.modules:
                importlib.import_module(name)
            elif package in sys.modules:
                getattr(sys.modules[package], attribute, None)  # a package may import when it is asked for something
        vars(module).update(self._others[module.__name__])  # no copy of all: it would write to each one's page


@contextmanager
def noted_imports() -> Iterator[dict[str, dict[str, None]]]:
    """Note which modules each module imports, in order."""
    noted: dict[str, dict[str, None]] = {}
    original = builtins.__import__

    def note(
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        module = original(name, globals, locals, fromlist, level)
        scope = globals or {}
        absolute = importlib.util.resolve_name("." * level + name, scope["__package__"]) if level else name
        names = [absolute, *(f"{absolute}.{each}" for each in fromlist or ())]
        if not hasattr(sys.modules.get(absolute), "__getattr__"):
            names = [each for each in names if each in sys.modules]
        noted.setdefault(scope.get("__name__", ""), {}).update(dict.fromkeys(names))
        return module

    builtins.__import__ = note
    try:
        yield noted
    finally:
        builtins.__import__ = original


class HiddenTogether(HiddenModules):
    """Packages that were loaded without scikit-learn, for programs that have hidden it; all modules of them at once.

    A program that may import scikit-learn gets its own, which have it.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        has_hidden_it = sys.modules.get(_SKLEARN, self) is None
        return super().find_spec(fullname, path, target) if has_hidden_it else None

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        sys.modules.update(self._modules)


def keep_models(services: Sequence[str]) -> None:
    """Read botocore's data, for its loader to hand out once in each program, as if read from the file just then."""
    botocore = importlib.import_module("botocore.loaders")
    xform_name = importlib.import_module("botocore").xform_name  # remembers what it has worked out
    files, contents = botocore.JSONFileLoader, {}
    read = files._load_file

    def note(self: Any, path: str, opens: Any) -> Any:
        contents[path] = read(self, path, opens)
        return contents[path]

    def give(self: Any, path: str, opens: Any) -> Any:
        return contents.pop(path, None) or read(self, path, opens)

    files._load_file, loader = note, botocore.create_loader()
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for service, kind in product(services, ("service-2", "endpoint-rule-set-1")):
        data = loader.load_data(f"{service}/{loader.determine_latest_version(service, kind)}/{kind}")
        for operation in data.get("operations", ()):
            xform_name(operation)
    files._load_file = give
    keep_names(botocore.Loader)


def quicken_events() -> None:
    """Work out once what botocore works out for each session of the 150 handlers that it registers.

    Whether a handler takes any argument is asked of its code: `inspect.getfullargspec` works out every parameter. Each
    object that renames events has a dictionary of what it has worked out; it starts with the handlers' own names.
    """
    hooks = importlib.import_module("botocore.hooks")
    handlers = importlib.import_module("botocore.handlers")
    accepts_kwargs, begin = vars(hooks)["accepts_kwargs"], hooks.EventAliaser.__init__
    aliaser = hooks.EventAliaser(hooks.HierarchicalEmitter())
    names = {handler[0]: aliaser._alias_event_name(handler[0]) for handler in handlers.BUILTIN_HANDLERS}
    aliases = dict(aliaser._event_aliases)

    def look(handler: Any) -> Any:
        function = getattr(handler, "__func__", handler)
        if type(function) is not FunctionType or vars(function):
            return accepts_kwargs(handler)
        return bool(function.__code__.co_flags & CO_VARKEYWORDS)

    def begin_with_names(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        if self._event_aliases == aliases:
            self._alias_name_cache.update(names)

    vars(hooks)["accepts_kwargs"], hooks.EventAliaser.__init__ = look, begin_with_names


def quicken_requests() -> None:
    """Read times as AWS writes most of them without trying all forms, and clean the parts of a user agent once.

    Botocore's own does both for each request; of a list, for each item. What is written otherwise it reads still.
    """
    utils, agents = (importlib.import_module(f"botocore.{name}") for name in ("utils", "useragent"))
    read, clean, utc = vars(utils)["_parse_timestamp_with_tzinfo"], agents.UserAgentComponent.to_string, utils.tzutc()
    remembered = lru_cache(256)(clean)

    def read_time(value: Any, tzinfo: Any) -> Any:
        if type(value) is str and _TIME.fullmatch(value):
            with suppress(ValueError):
                return datetime.fromisoformat(value[:-1]).replace(tzinfo=utc)
        return read(value, tzinfo)

    vars(utils)["_parse_timestamp_with_tzinfo"] = read_time
    agents.UserAgentComponent.to_string = lambda part: clean(part) if part.size_config else remembered(part)


def keep_names(kind: Any) -> None:
    """Read which services botocore has data of; a client looks for its own among all, in a thousand folders, twice."""
    list_services, installed = kind.list_available_services, kind.BUILTIN_DATA_PATH
    loader = kind([installed], include_default_search_paths=False)
    known = {name: set(list_services(loader, name)) for name in ("service-2", "endpoint-rule-set-1")}

    def list_known(self: Any, type_name: str) -> Any:
        if type_name not in known or installed not in self.search_paths:
            return list_services(self, type_name)
        other = [path for path in self.search_paths if path != installed]
        others = kind(other, self.file_loader, include_default_search_paths=False)
        return sorted(known[type_name].union(list_services(others, type_name)))

    kind.list_available_services = list_known


def preload(loads: Loads, folders: Sequence[str]) -> None:
    """Load what programs import; what is not installed is left out."""
    before = list(sys.path)
    sys.path[:0] = folders
    for name in (*_STANDARD, *loads.packages):
        _load(name)
    list(importlib.metadata.distributions())  # for pydantic, which looks in all of them for its plugins: it remembers
    visible = set(sys.modules)
    contents = {name: set(vars(sys.modules[name])) for name in loads.packages if name in visible}
    with noted_imports() as needs:
        for name in loads.hidden:
            _load(name)
        _load_pure(loads.pure)
    packages = tuple(f"{name}." for name in loads.packages) + tuple(f"{_top(name)}." for name in loads.pure)
    hidden = {name for name in set(sys.modules) - visible if f"{name}.".startswith(packages)}
    sys.meta_path.insert(0, HiddenModules(hidden, needs))
    for name, names in contents.items():  # pydantic keeps what was asked of it
        for attribute in set(vars(sys.modules[name])) - names:
            delattr(sys.modules[name], attribute)
    if loads.without_sklearn:
        sys.modules[_SKLEARN] = None  # type: ignore[assignment]
        for name in loads.without_sklearn:
            _load(name)
        del sys.modules[_SKLEARN]
        own = {name.partition(".")[0] for name in loads.without_sklearn}
        hidden = {name for name in sys.modules if name.partition(".")[0] in own}
        sys.meta_path.insert(0, HiddenTogether(hidden, {}))
    if loads.models and not any((Path(folder) / "botocore").exists() for folder in folders):
        keep_models(loads.models)
        quicken_events()
        quicken_requests()
    for entry in sys.path:
        for library in chain.from_iterable(map(Path(entry).glob, loads.libraries)):
            ctypes.CDLL(str(library))
    sys.path[:] = before
    for folder in loads.compiles:
        compileall.compile_dir(folder, quiet=2)
    if os.fork() == 0:  # OpenBLAS ends its threads before a fork; each program starts its own when it needs them
        os._exit(0)
    os.wait()
    gc.collect()
    gc.freeze()  # or the first collection of each program would copy every page


def _load_pure(names: Iterable[str]) -> None:
    """Load modules without what their package does when it is imported: it will do that in each program.

    Plugins of pydantic would have their part in models. Each program looks for them when it makes its first.
    """
    if not names or importlib.metadata.entry_points(group="pydantic"):
        return
    for package in dict.fromkeys(map(_top, names)):
        if spec := importlib.util.find_spec(package):
            sys.modules[package] = importlib.util.module_from_spec(spec)
    for name in names:
        with suppress(BaseException):  # what is wrong with it, a function that imports it will say
            importlib.import_module(name)
    for package in map(_top, names):
        sys.modules.pop(package, None)
    if plugins := sys.modules.get("pydantic.plugin._loader"):
        vars(plugins)["_plugins"] = None


def _top(name: str) -> str:
    return name.partition(".")[0]


def _load(name: str) -> None:
    with suppress(ImportError):
        importlib.import_module(name)


@dataclass
class ByteCode:
    """Byte code of what programs import from their own folders, by the SHA-256 of the source.

    Programs write none, and each would compile the fifty modules of a job anew.
    """

    codes: dict[bytes, bytes] = field(default_factory=dict)

    def learn(self, paths: Sequence[str]) -> None:
        """Compile the sources that are new among these files and in these archives."""
        if len(self.codes) > _MOST_SOURCES:
            self.codes.clear()
        contents = [Path(path).read_bytes() for path in paths if Path(path).stat().st_size <= _MOST_SOURCE_BYTES]
        new = {_digest(content): content for content in contents if _digest(content) not in self.codes}
        if new:
            self.codes |= dict.fromkeys(new, b"") | _compiled([text for each in new.values() for text in _texts(each)])

    def install(self) -> None:
        """Have imports in this process find it; what is installed has byte code of its own."""
        get_code, installed = SourceFileLoader.get_code, (sys.prefix, sys.base_prefix)

        def find_code(loader: SourceFileLoader, fullname: str) -> CodeType | None:
            path = loader.get_filename(fullname)
            if path.startswith(installed) or not (code := self.codes.get(_digest(loader.get_data(path)))):
                return get_code(loader, fullname)
            code_object: CodeType = marshal.loads(code)  # noqa: S302 - of our own fork
            _imp._fix_co_filename(code_object, path)  # type: ignore[attr-defined] # as importlib does
            return code_object

        SourceFileLoader.get_code = find_code  # type: ignore[assignment, method-assign]


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _texts(content: bytes) -> Iterator[bytes]:
    """Return a source itself, or the sources of an archive."""
    if not content.startswith(b"PK"):
        yield content
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [each for each in archive.infolist() if each.filename.endswith(".py")]
        if sum(each.file_size for each in members) <= _MOST_SOURCE_BYTES:
            yield from map(archive.read, members)


def _compiled(texts: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the byte code of those that can be compiled, from a process that ends with what the others do to it."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(writes, "wb") as pipe:
            for text in texts:
                with suppress(Exception):
                    marshal.dump((_digest(text), marshal.dumps(compile(text, "", "exec", dont_inherit=True))), pipe)
        os._exit(0)
    os.close(writes)
    codes = {}
    with os.fdopen(reads, "rb") as pipe, suppress(EOFError, ValueError, TypeError):
        while True:
            digest, code = marshal.load(pipe)  # noqa: S302
            codes[digest] = code
    os.waitpid(pid, 0)
    return codes


@dataclass
class Server:
    control: socket.socket
    byte_code: ByteCode = field(default_factory=ByteCode)
    statuses: dict[int, int] = field(default_factory=dict)
    """Process id to the descriptor of its status socket."""

    def serve(self) -> list[str] | None:
        """Start programs until nobody can ask for more. Returns in each program, with its arguments; else None."""
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes)
        poll = select.poll()
        for descriptor in (self.control.fileno(), woken):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if woken in ready:
                os.read(woken, 4096)
            self._reap()
            if self.control.fileno() in ready:
                received = self._receive()
                if received is None:
                    break
                if self._fork(*received):
                    return list(received[0]["argv"])
        for pid in self.statuses:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return None

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next request and its descriptors; None at the end."""
        head, descriptors, _, _ = socket.recv_fds(self.control, LENGTH.size, _MOST_FDS)
        if not head:
            return None
        length, text = LENGTH.unpack(head)[0], bytearray()
        while len(text) < length:
            if not (part := self.control.recv(length - len(text))):
                return None
            text += part
        return json.loads(text), descriptors

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> bool:
        """Whether this is the program."""
        with suppress(OSError, zipfile.BadZipFile):
            self.byte_code.learn(request["sources"])
        try:
            pid = os.fork()
        except OSError:  # without a word on the status socket, the program is started otherwise
            for descriptor in descriptors:
                os.close(descriptor)
            return False
        if pid == 0:
            self.control.detach()
            _become(request, descriptors)
            self.byte_code.install()
            return True
        self.statuses[pid] = descriptors[0]
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        return False

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                descriptor = self.statuses.pop(ended[0])
                with suppress(OSError):  # nobody waits for it any more
                    os.write(descriptor, f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())
                os.close(descriptor)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Make this process what the program's would be before its first line."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.write(descriptors[0], f"{os.getpid()}\n".encode())
    wanted: list[int] = request["fds"]
    apart = [fcntl.fcntl(each, fcntl.F_DUPFD, max(wanted) + 1) for each in descriptors[1:]]
    for descriptor, number in zip(apart, wanted, strict=True):
        os.dup2(descriptor, number)
    for number in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        if number not in wanted:
            with suppress(OSError):
                os.close(number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()


def run(argv: Sequence[str]) -> None:
    """Run `<python> <script> <arguments>` or `<python> -c <code> <arguments>` as Python would, up to its last words."""
    code: Any  # or its source
    main = ModuleType("__main__")
    vars(main).update(__builtins__=sys.modules["builtins"], __annotations__={})
    sys.orig_argv, sys.modules["__main__"] = list(argv), main
    named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    searched = [os.path.abspath(folder) for folder in named]  # noqa: PTH100 - as Python does it, links and all
    sys.path[1:1] = [folder for folder in dict.fromkeys(searched) if folder not in sys.path[1:]]
    if argv[1] == "-c":
        sys.argv = ["-c", *argv[3:]]
        sys.path[0], name, code = "", "<string>", argv[2].encode()
        main.__loader__ = BuiltinImporter
    else:
        sys.argv, name = list(argv[1:]), argv[1]
        path, main.__loader__ = Path(name).resolve(), SourceFileLoader("__main__", name)
        sys.path[0] = str(path.parent)
        # Of what is ours there is byte code.
        code = main.__loader__.get_code("__main__") if path.is_relative_to(OWN) else path.read_bytes()
        vars(main).update(__file__=name, __cached__=None)
    try:
        if isinstance(code, bytes):
            code = compile(code, name, "exec", dont_inherit=True)
        exec(code, vars(main))  # noqa: S102
    except SystemExit:
        raise
    except BaseException as error:
        frames = error.__traceback__
        while frames and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error.with_traceback(frames), frames
        sys.excepthook(type(error), error, frames)
        sys.excepthook = lambda *_: None  # it has been said; Python still has to end as after any error
        raise


class Ending:
    """The end of a program, which is Python's own up to what was registered with `atexit`.

    After that only what the program itself has made is taken apart: to do so with what was loaded before the fork would
    copy every page of it.
    """

    def __init__(self) -> None:
        self.code: Any = None
        """The exit code; None while there is none, and where only Python itself knows how to end."""
        atexit.register(self._leave)  # before anything else is, so that it comes last

    @contextmanager
    def known(self) -> Iterator[None]:
        """Note with which exit code Python will end a program."""
        try:
            yield
            self.code = 0
        except SystemExit as error:
            code = error.code or 0
            self.code = code if type(code) is int and 0 <= code <= 255 else None
            raise
        except Exception:
            self.code = 1
            raise

    def _leave(self) -> None:
        if self.code is None:
            return
        sys.last_type = sys.last_value = sys.last_traceback = None
        vars(sys.modules["__main__"]).clear()
        gc.collect()
        with suppress(Exception):  # Python says what it could not write
            for file in (sys.stdout, sys.stderr, *filter(_is_open_file, gc.get_objects())):
                file.flush()
            ctypes.CDLL(None).fflush(None)
            os._exit(self.code)


def _is_open_file(thing: Any) -> bool:
    return type(thing) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom) and not thing.closed


if __name__ == "__main__":
    ending = Ending()
    preload(LOADS[sys.argv[3]], sys.argv[4:])
    if arguments := Server(socket.socket(fileno=int(sys.argv[1]))).serve():
        with ending.known():
            run(arguments)
