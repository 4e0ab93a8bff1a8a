"""CloudWatch Logs: streams in files, filter patterns and queries."""
