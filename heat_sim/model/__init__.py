"""The analytical model: counts, cycles and energy of one mapping, as Timeloop reports them."""
