"""Files in, rows out: read, checked, told from one another, dealt to sets, encoded and reported."""
