"""What a model.yaml says: read, checked whole, with what the algorithms accept."""
