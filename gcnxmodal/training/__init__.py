"""Training: the state and its steps, the loop, sampling, sharding, jobs of several processes, checkpoints."""
