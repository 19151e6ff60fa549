"""Networks of a task and a plan."""
