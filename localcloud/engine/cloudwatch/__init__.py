"""CloudWatch: metrics and alarms that are kept and evaluated."""
