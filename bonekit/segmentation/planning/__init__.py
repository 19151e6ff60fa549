"""From the fingerprint of a data set to the shape of its network."""
