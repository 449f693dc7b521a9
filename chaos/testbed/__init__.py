"""Several machines on one: a department's services, its front and its workers, each with an address and a home."""
