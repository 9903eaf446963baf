"""Machines of many sizes: their energies and areas from component tables, and the ranges that span them."""

from heat_sim.hardware.components import Dram, Mac, Register, Sram
from heat_sim.hardware.genes import Gene
from heat_sim.hardware.logic import mac, register
from heat_sim.hardware.pricing import Technology, area_by_component_mm2, priced
from heat_sim.hardware.ranges import load_space, parse_space
from heat_sim.hardware.space import HardwarePoint, HardwareSpace
from heat_sim.hardware.sram import sram
from heat_sim.hardware.tables import LogicCost, StorageCost

__all__ = [
    "Dram",
    "Gene",
    "HardwarePoint",
    "HardwareSpace",
    "LogicCost",
    "Mac",
    "Register",
    "Sram",
    "StorageCost",
    "Technology",
    "area_by_component_mm2",
    "load_space",
    "mac",
    "parse_space",
    "priced",
    "register",
    "sram",
]
