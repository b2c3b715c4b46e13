"""A procedural production line: seeded parts on a belt, with truth and scripted disturbances."""

from pipeline.simulation.disturbances import KINDS, Disturbance
from pipeline.simulation.line import SimulatedLine
from pipeline.simulation.parts import CLASSES, LOOK_ALIKES, NOVEL_CLASSES
from pipeline.simulation.values import Scene, SimulatedFrame

__all__ = [
    "CLASSES",
    "KINDS",
    "LOOK_ALIKES",
    "NOVEL_CLASSES",
    "Disturbance",
    "Scene",
    "SimulatedFrame",
    "SimulatedLine",
]
