"""What serves a model in AWS's containers, with nothing around it: Flask under gunicorn, and the bare XGBoost model.

Takes encoded features as CSV, gives one number a line. `MODEL` names the model's file.
"""

import os

import flask
import numpy as np
import xgboost

booster = xgboost.Booster(model_file=os.environ["MODEL"])
booster.set_param({"nthread": 1})
app = flask.Flask(__name__)


@app.route("/invocations", methods=["POST"])  # type: ignore[untyped-decorator]
def invocations() -> flask.Response:
    """Answer one request, as sagemaker-xgboost-container does: rows, a DMatrix, a prediction, text."""
    lines = flask.request.get_data(as_text=True).strip().split("\n")
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines], dtype=np.float32)
    predictions = booster.predict(xgboost.DMatrix(rows), validate_features=False)
    return flask.Response("\n".join(map(str, predictions.tolist())) + "\n", mimetype="text/csv")
