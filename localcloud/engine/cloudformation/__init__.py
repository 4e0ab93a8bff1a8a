"""CloudFormation: what MiniStack passes over in a template is applied or refused."""
