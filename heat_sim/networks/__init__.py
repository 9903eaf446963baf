"""Transformers as networks: weight matrices, attention einsums and parameters, read from a Hugging Face configuration.

Only the configuration is needed to cost a network; weights come in when it is compressed.
"""

from heat_sim.networks.load import COVERED, TEXT_TOKENS, load_network, network_from_config
from heat_sim.networks.network import EmbeddingTable, Network, Role, WeightMatrix
from heat_sim.networks.parameters import ParameterCount, compressed_words, count_parameters
from heat_sim.networks.sizes import SIZES

__all__ = [
    "COVERED",
    "SIZES",
    "TEXT_TOKENS",
    "EmbeddingTable",
    "Network",
    "ParameterCount",
    "Role",
    "WeightMatrix",
    "compressed_words",
    "count_parameters",
    "load_network",
    "network_from_config",
]
