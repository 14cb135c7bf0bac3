"""The HTML page a run ends with: what was measured, beside its yardsticks, and what retrieval looks like."""
