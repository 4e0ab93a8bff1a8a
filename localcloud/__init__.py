"""AWS on a laptop: one process, one port, no account, no Docker, no network.

`python -m localcloud up` starts it, `down` ends it. The control services come from MiniStack (`engine/` is the only
place that knows its internals), SageMaker is ours (`sagemaker/`), and mail that a topic sends to an e-mail address
lands in a folder (`mailbox.py`). It speaks the AWS API, so that boto3, the AWS CLI and SAM work against it unchanged
with AWS_ENDPOINT_URL.
"""
