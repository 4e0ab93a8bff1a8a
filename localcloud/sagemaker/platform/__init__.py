"""What jobs and endpoints stand on: the emulated AWS, files, logs, events, images and the store of descriptions."""
