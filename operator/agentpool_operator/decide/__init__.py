"""Pure decisions: how many agents a pool should have, of which capacity type, and why.

Nothing in this package reads a clock, a network, a file or chance. Time is an argument in Unix seconds, what was
observed comes in as frozen values, what must be remembered goes out as a value and comes back in.
"""
