"""Presets: every experiment is one frozen value. A new paper is one file and one line here."""

from gcnxmodal.systems.gch import GCH_PRESETS
from gcnxmodal.systems.gin_presets import GIN_PRESETS
from gcnxmodal.systems.scanet_presets import SCANET_PRESETS
from gcnxmodal.systems.sspe import SSPE_PRESETS

PRESETS = {**GIN_PRESETS, **SCANET_PRESETS, **GCH_PRESETS, **SSPE_PRESETS}
