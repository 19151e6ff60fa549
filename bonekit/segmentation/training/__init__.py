"""Training: a plain loop that can be killed and taken up again."""
