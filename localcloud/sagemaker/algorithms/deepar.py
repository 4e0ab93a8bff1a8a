"""The DeepAR image: an algorithm, and nothing else.

Sources: SageMaker Developer Guide, "Tune a DeepAR Model" (metrics, and what can be tuned); the lines that the metrics
are read from are those of a job's log.
"""

from __future__ import annotations

from localcloud.sagemaker.algorithms.stand_in import PROGRAMS, SERVING_PROGRAMS, StandIn

DEEPAR = StandIn(
    repository="forecasting-deepar",
    serves=SERVING_PROGRAMS / "deepar_serve.py",
    trains=PROGRAMS / "deepar_train.py",
    metrics=tuple(
        {"Name": f"{part}:{name}", "Regex": rf"#quality_metric: host=\S+, {part} {name} <loss>=(\S+)"}
        for part, name in (("train", "final_loss"), ("test", "RMSE"), ("test", "mean_wQuantileLoss"))
    ),
    tunable=frozenset(
        [
            "mini_batch_size",
            "epochs",
            "context_length",
            "num_cells",
            "num_layers",
            "dropout_rate",
            "embedding_dimension",
            "learning_rate",
        ]
    ),
)
