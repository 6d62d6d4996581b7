"""Post-processing: as data, real, simulated, and drawn at random for training."""
