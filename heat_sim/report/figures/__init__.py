"""Figures of a search run, one per file: what they show, and in which colours and sizes."""
