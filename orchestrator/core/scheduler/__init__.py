"""Who goes next, and where: the backlog in order, and the search for an instance."""
