"""What a model.yaml for somebody's files may say, each guess with its evidence."""
