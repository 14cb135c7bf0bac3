"""Joint, our own system: see `joint.py`."""

from gcnxmodal.systems.joint.config import JOINT_PRESETS, JointExperiment, JointModel, JointTrain
from gcnxmodal.systems.joint.joint import JointSystem
from gcnxmodal.systems.joint.model import Joint

__all__ = ["JOINT_PRESETS", "Joint", "JointExperiment", "JointModel", "JointSystem", "JointTrain"]
