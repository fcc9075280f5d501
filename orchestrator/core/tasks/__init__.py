"""A task's way: taken in, joined to others by keys and edges, reported, ended, answered."""
