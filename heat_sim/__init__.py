"""heat_sim: analytical accelerator simulation and tensor-decomposition co-design for Transformers."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("heat_sim")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
