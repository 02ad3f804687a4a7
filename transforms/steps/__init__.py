"""The steps of a pipeline between the source and the target."""
