"""The part as the unit: its frames are gathered, their logits fused, and one decision made of them."""

from pipeline.parts.assembler import Assembler, Member, Part, PartRule
from pipeline.parts.correlation import IntraclassCorrelation
from pipeline.parts.fusion import effective_frames, fuse

__all__ = ["Assembler", "IntraclassCorrelation", "Member", "Part", "PartRule", "effective_frames", "fuse"]
