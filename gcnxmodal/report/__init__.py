"""The HTML page a run ends with: what was measured, beside its baselines, and what retrieval looks like."""
