"""CloudFormation: properties that MiniStack ignores are applied or refused."""
