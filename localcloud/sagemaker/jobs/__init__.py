"""Training, processing and transform jobs: subprocesses with SageMaker's folders, limits and messages."""
