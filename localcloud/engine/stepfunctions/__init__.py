"""Step Functions: executions that are kept, and what their states ask of services."""
