"""SSPE (Wu et al. 2018): embeddings trained on neighbours that are drawn from three graphs."""

from gcnxmodal.systems.sspe.sspe import SSPE_PRESETS, SSPEExperiment, SSPESystem

__all__ = ["SSPE_PRESETS", "SSPEExperiment", "SSPESystem"]
