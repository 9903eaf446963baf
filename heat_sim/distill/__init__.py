"""Factorised PyTorch layers and the two-stage distillation that restores accuracy (extra `distill`)."""
