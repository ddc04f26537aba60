"""When to run what: the command line and the Prefect flows. No maths, no SQL."""
