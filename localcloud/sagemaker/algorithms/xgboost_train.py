"""XGBoost's training container, algorithm mode: `<image python> xgboost_train.py --root <folder for /opt/ml>`.

Reads   input/config/{hyperparameters,inputdataconfig,resourceconfig}.json, input/data/{train,validation}/
Writes  model/xgboost-model (UBJSON, as `Booster.save_model` does), output/failure when it fails
Logs    `[n]<TAB>train-rmse:1.54789<TAB>validation-rmse:1.54789` for each round, on stdout
Source  sagemaker-xgboost-container, `algorithm_mode/train.py`, on the library of image tag 3.2-0.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.algorithms import training_data as data
from localcloud.sagemaker.algorithms import xgboost_hyperparameters, xgboost_metrics
from localcloud.sagemaker.algorithms.hosts import ALONE, Hosts, together
from localcloud.sagemaker.algorithms.training_container import (
    AlgorithmError,
    CustomerError,
    Environment,
    cores,
    log,
    run,
)
from localcloud.sagemaker.without_pandas import leave_out_pandas

MODEL_NAME = "xgboost-model"
LARGE = 200_000  # values of a training matrix, from which on more than one thread works on it
READERS: dict[str, Callable[[Sequence[Path]], Iterator[data.Block]]] = {
    data.CSV: data.read_csv,
    data.PARQUET: data.read_parquet,
}
# Library errors that the user can cure, by what identifies them: the container's list, in the words of 3.2.
CUSTOMER_ERRORS = (
    "label must be",
    "base_score must be",
    "`base_score` must be",
    "Label contains NaN, infinity or a value too large.",
    "Target is multiclass but average='binary'",
    "Parameter reg_lambda should be greater equal to 0",
    "Unknown objective function",
    "labels_lower_bound_",
)


def import_xgboost() -> Any:
    """Return the library without its scikit-learn interface, which takes two of its two and a half seconds to import.

    OpenMP's threads sleep while they wait: by default they spin, and where other jobs want the same two processors
    that made ten rounds over a million rows take 4.3 s instead of 0.5 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    import xgboost
    import xgboost.collective
    import xgboost.tracker

    return xgboost


def train(environment: Environment) -> None:
    """Do the whole run: validate, load, boost, save."""
    log("Running XGBoost Sagemaker in algorithm mode")
    values = xgboost_hyperparameters.read(environment.hyperparameters)
    channels = check_channels(environment)
    log("Determined 0 GPU(s) available on the instance.")
    _warn_of_the_same_files(environment, channels)
    xgb = import_xgboost()
    has_data = bool(data.data_files(environment.channel_dir("train")))
    with together(environment, lambda: xgb, has_data=has_data) as hosts:
        if hosts is None:
            return
        log("Single node training." if hosts.count == 1 else f"Distributed node training on {hosts.count} hosts.")
        training, validation = load(xgb, environment, channels, values)
        log(f"Train matrix has {training.num_row()} rows and {training.num_col()} columns")
        if validation is not None:
            log(f"Validation matrix has {validation.num_row()} rows")
        booster = boost(xgb, environment, values, training, validation, hosts)
        if hosts.is_master:
            save(booster, environment.model_dir / MODEL_NAME)


def check_channels(environment: Environment) -> dict[str, str]:
    """Channel names to kinds of data; the channels must be train, and at most validation and code.

    The container's algorithm_mode/channel_validation.py knows the modes File and Pipe.
    """
    channels = environment.channels
    if "train" not in channels:
        raise CustomerError("Missing required channel: train")
    kinds = {}
    for name, configuration in channels.items():
        if name not in ("train", "validation", "code"):
            raise CustomerError(f"Extraneous channel found: {name}")
        if configuration.get("TrainingInputMode", "File") != "File":
            raise CustomerError(f"Channel configuration for '{name}' channel is not supported: {configuration}")
        if name != "code":
            kinds[name] = data.parse_content_type(configuration.get("ContentType") or "text/libsvm")[0]
    if data.RECORDIO in kinds.values():
        raise CustomerError(
            "ContentType application/x-recordio-protobuf is not supported by the local XGBoost; "
            "use text/csv, application/x-parquet or text/libsvm."
        )
    if environment.resumes_from_checkpoints:
        raise CustomerError("CheckpointConfig is not supported by the local XGBoost.")
    return kinds


def _warn_of_the_same_files(environment: Environment, channels: Mapping[str, str]) -> None:
    """Log the container's warning for files that are in both channels, by name and size."""
    if "validation" not in channels:
        return
    of_training = {(path.name, path.stat().st_size): path for path in data.data_files(environment.channel_dir("train"))}
    for path in data.data_files(environment.channel_dir("validation")):
        twin = of_training.get((path.name, path.stat().st_size))
        if twin is not None and twin.read_bytes() == path.read_bytes():
            log(f"Suspected identical files found. ({twin} and {path}). Note: Duplicate data in the training set and "
                "validation set is usually not intentional and can impair the validity of the model evaluation by "
                "the validation score.", "WARNING")  # fmt: skip


def load(xgb: Any, environment: Environment, channels: Mapping[str, str], values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the training matrix and the validation matrix (None without such a channel)."""
    training = _matrix(xgb, environment.channel_dir("train"), channels["train"], values, None)
    if training is None:
        raise CustomerError(f"No data in training channel path {environment.channel_dir('train')}")
    if "validation" not in channels:
        return training, None
    validation = _matrix(xgb, environment.channel_dir("validation"), channels["validation"], values, training)
    if validation is None:
        raise CustomerError(f"No data in validation channel path {environment.channel_dir('validation')}")
    return training, validation


def _matrix(xgb: Any, folder: Path, kind: str, values: Mapping[str, Any], reference: Any) -> Any:
    """Return a matrix of the folder's files, or None when it holds no data."""
    files = data.data_files(folder)
    if not files:
        return None
    if kind == data.LIBSVM:
        return _libsvm_matrix(xgb, files)
    spool = data.Spool(READERS[kind](files))
    first_feature = 2 if values.get("csv_weights") == 1 and kind == data.CSV else 1
    if spool.rows.shape[0] == 0:
        return None
    if spool.rows.shape[1] <= first_feature:
        raise CustomerError(f"Got input data without features: {spool.rows.shape[1]} columns in {files[0].name}.")
    if _is_histogram(values):
        source = _source(xgb, spool, first_feature)
        return xgb.QuantileDMatrix(source, max_bin=values.get("max_bin") or 256, ref=reference)
    rows = spool.rows
    weight = rows[:, 1] if first_feature == 2 else None
    return xgb.DMatrix(rows[:, first_feature:], label=rows[:, 0], weight=weight)


def _is_histogram(values: Mapping[str, Any]) -> bool:
    """Return whether the 8-bit matrix can be used; it gives the same trees (test) with a quarter of the memory."""
    return (
        values.get("booster", "gbtree") != "gblinear"
        and values.get("tree_method", "auto") in ("auto", "hist")
        and "updater" not in values
        and values.get("process_type", "default") == "default"
    )


def _source(xgb: Any, spool: data.Spool, first_feature: int) -> Any:
    """Return an iterator over the blocks, in the form that QuantileDMatrix takes."""

    class Blocks(xgb.DataIter):  # type: ignore[misc]
        def __init__(self) -> None:
            self._blocks = iter(spool.blocks)
            super().__init__()

        def reset(self) -> None:
            self._blocks = iter(spool.blocks)

        def next(self, input_data: Callable[..., None]) -> bool:
            block = next(self._blocks, None)
            if block is None:
                return False
            weight = {"weight": block[:, 1]} if first_feature == 2 else {}
            input_data(data=block[:, first_feature:], label=block[:, 0], **weight)
            return True

    return Blocks()


def _libsvm_matrix(xgb: Any, files: Sequence[Path]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library deprecates text input; the container still takes it
            return xgb.DMatrix(";".join(str(file) for file in files) + "?format=libsvm")
    except xgb.core.XGBoostError as error:
        raise CustomerError(f"Failed to load libsvm data with exception:\n{_without_stack(error)}") from error


def boost(
    xgb: Any,
    environment: Environment,
    values: Mapping[str, Any],
    training: Any,
    validation: Any,
    hosts: Hosts = ALONE,
) -> Any:
    """Return the trained booster; with early stopping, the booster of the best round. The master alone logs."""
    parameters = {**values, "nthread": values.get("nthread", _threads(training))}
    rounds = parameters.pop("num_round")
    stopping_rounds = parameters.pop("early_stopping_rounds", None)
    saves_on_stop = parameters.pop("save_model_on_termination", "false") == "true"
    for name in ("csv_weights", "use_dask_gpu_training"):
        parameters.pop(name, None)
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    metrics = _metric_names(parameters)
    custom = [metric for metric in metrics if metric in xgboost_metrics.CUSTOM]
    if library := [metric for metric in metrics if metric not in xgboost_metrics.CUSTOM]:
        parameters["eval_metric"] = library
    callbacks = [_printer(xgb)] if hosts.is_master else []
    if saves_on_stop and hosts.is_master:
        callbacks.append(_saver(xgb, environment.model_dir / MODEL_NAME))
    callbacks += _early_stopping(xgb, stopping_rounds, metrics, validation)
    watched = [(training, "train")] + ([(validation, "validation")] if validation is not None else [])
    try:
        return xgb.train(
            parameters,
            training,
            num_boost_round=rounds,
            evals=watched,
            custom_metric=xgboost_metrics.evaluator(custom, values.get("objective", "")) if custom else None,
            callbacks=callbacks,
            verbose_eval=False,
        )
    except (xgb.core.XGBoostError, ValueError) as error:
        raise _translated(error) from error


def _threads(training: Any) -> int:
    """Return one thread for few values, else one for each core.

    Threads wait for each other dozens of times a round, which is most of a small round, and more where others work too.
    """
    return 1 if training.num_row() * training.num_col() < LARGE else cores()


def _metric_names(parameters: dict[str, Any]) -> list[str]:
    """Return the metrics to report; the tuning objective's joins them, and both lists are then sorted as one."""
    names: list[str] = parameters.pop("eval_metric", [])
    objective = parameters.pop("_tuning_objective_metric", None)
    if objective is None:
        return names
    tuned = objective.split(":")[1]
    log(f"Setting up HPO optimized metric to be : {tuned}")
    return [*sorted(set(names) - {tuned}), tuned]


def _early_stopping(xgb: Any, rounds: int | None, metrics: Sequence[str], validation: Any) -> list[Any]:
    """Armed only with a validation channel and a named metric, as in the container; the last metric counts."""
    if rounds is None:
        return []
    if validation is None or not metrics:
        log("early_stopping_rounds has no effect: it needs a validation channel and eval_metric.", "WARNING")
        return []
    maximize = metrics[-1].partition("@")[0] in xgboost_hyperparameters.MAXIMIZE
    return [
        xgb.callback.EarlyStopping(
            rounds=rounds, data_name="validation", metric_name=metrics[-1], maximize=maximize, save_best=True
        )
    ]


def _printer(xgb: Any) -> Any:
    class Printer(xgb.callback.TrainingCallback):  # type: ignore[misc]
        """`[n]<TAB>train-rmse:1.54789`; the library's own printer goes through its collective and adds nothing."""

        def after_iteration(self, _model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]) -> bool:
            scores = (
                f"\t{part}-{metric}:{history[-1]:.5f}"
                for part, metrics in evals_log.items()
                for metric, history in metrics.items()
            )
            print(f"[{epoch}]{''.join(scores)}", flush=True)
            return False

    return Printer()


def _saver(xgb: Any, path: Path) -> Any:
    """Return a callback that keeps the newest round's model in the model folder, and ends quietly on SIGTERM."""

    class Saver(xgb.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, _epoch: int, _evals_log: object) -> bool:
            save(model, path)
            return False

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    return Saver()


def save(booster: Any, path: Path) -> None:
    """UBJSON under a name without extension, complete or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Saving model in the UBJSON format as default": as the container does
        booster.save_model(temporary)
    temporary.replace(path)


def _translated(error: Exception) -> Exception:
    text = _without_stack(error)
    if any(known in text for known in CUSTOMER_ERRORS):
        return CustomerError(text)
    return AlgorithmError(f"XGB train call failed with exception:\n {text}")


def _without_stack(error: Exception) -> str:
    """Return the reason alone: the library puts a source line before it and its C++ stack after it."""
    text = str(error).split("\nStack trace:")[0].strip()
    return re.sub(r"^\[[0-9:]+\] \S+:\d+: ", "", text)


if __name__ == "__main__":
    leave_out_pandas()
    sys.exit(run(train, sys.argv[1:]))
