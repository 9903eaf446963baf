"""Readers and writers of Timeloop architecture, problem and mapping files and Accelergy energy tables."""
