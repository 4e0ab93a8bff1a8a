"""Amazon SageMaker on this machine: jobs are subprocesses, endpoints are local servers, the API is AWS's.

Start with `service.SageMakerService`; `http` and `stepfunctions` are the two ways in.
"""
