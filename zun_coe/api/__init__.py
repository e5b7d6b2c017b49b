"""HTTP: the contract's operations as handlers of a few lines, and what all of them have in common."""
