"""Presets: every experiment is one frozen value. A new paper is one file and one line here."""

from gcnxmodal.experiments.gch import GCH_PRESETS
from gcnxmodal.experiments.gin import GIN_PRESETS
from gcnxmodal.experiments.scanet import SCANET_PRESETS
from gcnxmodal.experiments.sspe import SSPE_PRESETS

PRESETS = {**GIN_PRESETS, **SCANET_PRESETS, **GCH_PRESETS, **SSPE_PRESETS}
