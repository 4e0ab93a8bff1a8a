"""EventBridge: patterns, targets, retries and dead letters."""
