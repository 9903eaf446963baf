"""AccelForge's figures of fused and unfused matmuls (expected.json), its designs, mappings and rules.

``python -m tests.published.accelforge.table`` prints the tables of docs/validation.md.
"""
