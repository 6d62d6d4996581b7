"""Training, from a folder of photographs to a folder of weights."""
