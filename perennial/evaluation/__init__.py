"""What models are worth: metrics, the comparison with the model in service, and the gate."""
